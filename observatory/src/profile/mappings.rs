//! Where this program's code is mapped, so that a reader of a profile can tell files apart.

use std::fs;

/// An executable mapping of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) file_offset: u64,
    pub(crate) file: String,
}

/// The executable mappings of this process, by address; empty when the kernel will not tell. The
/// program itself comes before its libraries, which pprof takes for granted.
pub(crate) fn read() -> Vec<Mapping> {
    fs::read_to_string("/proc/self/maps").map_or_else(|_| Vec::new(), |maps| parse(&maps))
}

fn parse(maps: &str) -> Vec<Mapping> {
    maps.lines().filter_map(line).collect()
}

/// `55d0c0a0000-55d0c0b0000 r-xp 00010000 fd:00 1234    /path of/the file`
fn line(line: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let (field, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(field)
    };
    let (range, permissions, offset) = (field()?, field()?, field()?);
    let (_device, _inode) = (field()?, field()?);
    let file = rest.trim_start();
    let (start, end) = range.split_once('-')?;
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    (permissions.contains('x') && !file.is_empty()).then_some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        file_offset: hex(offset)?,
        file: file.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_with_a_file_is_kept() {
        let maps = "\
            1000-2000 r--p 00000000 fd:00 7                          /bin/a b\n\
            2000-4000 r-xp 00001000 fd:00 7                          /bin/a b\n\
            5000-6000 rwxp 00000000 00:00 0 \n\
            7000-8000 r-xp 00000000 00:00 0                          [vdso]\n";
        let found: Vec<_> = parse(maps)
            .into_iter()
            .map(|m| (m.start, m.end, m.file_offset, m.file))
            .collect();
        let expected = [
            (0x2000, 0x4000, 0x1000, "/bin/a b"),
            (0x7000, 0x8000, 0, "[vdso]"),
        ];
        assert_eq!(
            found,
            expected.map(|(a, b, c, file)| (a, b, c, file.to_owned()))
        );
    }

    #[test]
    fn this_test_is_in_one_of_this_programs_mappings() {
        let here = parse as *const () as usize as u64;
        assert!(read().iter().any(|m| (m.start..m.end).contains(&here)));
    }
}
