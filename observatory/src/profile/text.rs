//! A report as text, in the form that Go writes with `debug=1` and its tools read.

use std::fmt::{self, Write};

use super::fold::{Frame, Report, Stack, functions};
use super::symbol::Symbols;

impl Report {
    /// The report as text: a line with the total of the default value, then each stack with its
    /// values, addresses and labels, and its functions below.
    pub fn text(&self, symbols: &Symbols) -> String {
        let mut text = String::new();
        self.write(&mut text, symbols)
            .expect("writing to memory does not fail");
        symbols.release();
        text
    }

    fn write(&self, text: &mut String, symbols: &Symbols) -> fmt::Result {
        let name = self.values[self.default_value].name;
        writeln!(
            text,
            "{name} profile: total {}",
            self.total(self.default_value)
        )?;
        for remark in &self.remarks {
            writeln!(text, "# {remark}")?;
        }
        if self.values.len() > 1 {
            let kinds: Vec<_> = self
                .values
                .iter()
                .map(|kind| format!("{}/{}", kind.name, kind.unit))
                .collect();
            writeln!(text, "# values: {}", kinds.join(" "))?;
        }
        self.stacks
            .iter()
            .try_for_each(|stack| write_stack(text, stack, symbols))
    }
}

fn write_stack(text: &mut String, stack: &Stack, symbols: &Symbols) -> fmt::Result {
    let values: Vec<_> = stack.values.iter().map(i64::to_string).collect();
    write!(text, "\n{} @", values.join(" "))?;
    for frame in &stack.frames {
        write!(text, " {:#x}", address(frame))?;
    }
    writeln!(text)?;
    if !stack.labels.is_empty() {
        let labels: Vec<_> = stack
            .labels
            .iter()
            .map(|l| format!("{:?}:{:?}", l.key, l.value))
            .collect();
        writeln!(text, "# labels: {{{}}}", labels.join(", "))?;
    }
    for (frame, function) in functions(&stack.frames, symbols) {
        writeln!(
            text,
            "#\t{:#x}\t{}\t{}",
            address(frame),
            function.name,
            function.place()
        )?;
    }
    Ok(())
}

fn address(frame: &Frame) -> usize {
    match frame {
        Frame::Code(address) => *address,
        Frame::Note(..) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::profile::Label;
    use crate::profile::fold::Fold;
    use crate::profile::routines::VALUES;

    #[test]
    fn the_text_is_what_gos_tools_read() {
        let site = Location::caller();
        let mut fold = Fold::default();
        let labels = || vec![Label::new("state", "new")];
        fold.add(
            vec![Frame::Note("not started".to_owned(), site)],
            labels(),
            &[2],
        );
        let mut report = Report::new(VALUES, 0);
        report.stacks = fold.stacks(0);
        let expected = format!(
            "goroutine profile: total 2\n\
             \n2 @ 0x0\n# labels: {{\"state\":\"new\"}}\n#\t0x0\t(not started)\t{}:{}\n",
            site.file(),
            site.line()
        );
        assert_eq!(report.text(&Symbols::default()), expected);
    }
}
