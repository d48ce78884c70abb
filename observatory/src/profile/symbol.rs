//! Addresses to functions.
//!
//! Looking up an address parses debug information, so it happens only when a report is shown and
//! once for each address. An address lies within the call or instruction that was executing, as the
//! runtime's walkers give it, not behind it.

use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openwork::memory;

/// Addresses remembered; more than the code of this program has calls that show up in profiles.
const REMEMBERED: usize = 1 << 16;

/// A function at a place, as named by the program's debug information.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Readable name, without generic arguments and the hash at its end. An inlined function of which only the bare name is
    /// known has crate and file before it.
    pub name: String,
    /// The name in the symbol table.
    pub mangled: String,
    /// The crate it is from; empty when the name tells none (C code, unknown addresses).
    pub package: String,
    /// Source file, if known.
    pub file: Option<String>,
    /// Line of the call or instruction in it, from 1, if known.
    pub line: Option<u32>,
}

impl Function {
    fn new(name: String, mangled: String, file: Option<String>, line: Option<u32>) -> Function {
        // Short debug information names inlined functions without their path: there the source file
        // tells the crate, and gives the name something to be known by.
        let source = file.as_deref().filter(|file| file.ends_with(".rs"));
        let (name, package) = match source {
            Some(source) if is_bare(&name) => {
                let package = package_of_file(source);
                (format!("{package}::{}::{name}", stem(source)), package)
            }
            _ => {
                let package = package(&name).to_owned();
                (name, package)
            }
        };
        let name = without_generics(&name);
        Function {
            name,
            mangled,
            package,
            file,
            line,
        }
    }

    /// `file:line`, as far as it is known.
    pub(crate) fn place(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            (Some(file), None) => file.clone(),
            (None, _) => "?".to_owned(),
        }
    }
}

/// Looks up addresses of this program, and remembers them.
#[derive(Default)]
pub struct Symbols {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    functions: HashMap<usize, Arc<[Function]>>,
    /// Whether debug information was read since it was let go.
    reading: bool,
}

impl Symbols {
    /// The functions at an address: the one inlined deepest first, its callers after it. One at
    /// least; an address without a symbol gets its number as a name.
    pub fn at(&self, address: usize) -> Arc<[Function]> {
        let mut known = self.lock();
        if let Some(functions) = known.functions.get(&address) {
            return functions.clone();
        }
        if known.functions.len() == REMEMBERED {
            known.functions.clear();
        }
        let functions: Arc<[Function]> = look_up(address).into();
        known.functions.insert(address, functions.clone());
        known.reading = true;
        functions
    }

    /// Lets the parsed debug information go, at the end of a report: tens of megabytes that would
    /// stand in every heap profile, for a next report that mostly meets known addresses.
    pub(crate) fn release(&self) {
        let mut known = self.lock();
        if std::mem::take(&mut known.reading) {
            memory::apart(backtrace::clear_symbol_cache);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols").finish_non_exhaustive()
    }
}

fn look_up(address: usize) -> Vec<Function> {
    let mut functions = Vec::new();
    // `resolve` takes a return address and looks one byte before it.
    let after = address.wrapping_add(1) as *mut c_void;
    // Apart: `resolve` holds the lock that a dhat session needs for every allocation. All that is
    // freed in here was allocated in here.
    memory::apart(|| {
        backtrace::resolve(after, |symbol| {
            let Some(name) = symbol.name() else { return };
            let readable = format!("{name:#}");
            let mangled = name.as_str().unwrap_or(&readable).to_owned();
            let file = symbol.filename().map(|file| file.display().to_string());
            functions.push(Function::new(readable, mangled, file, symbol.lineno()));
        });
    });
    if functions.is_empty() {
        let name = format!("{address:#x}");
        functions.push(Function::new(name.clone(), name, None, None));
    }
    functions
}

/// The crate in a readable name: `a` of `a::b::c`, of `<a::B as c::D>::e` and of `<&mut a::B>::c`.
fn package(name: &str) -> &str {
    let mut rest = name;
    loop {
        let shorter = rest
            .trim_start_matches(['<', '&', '*', '(', '[', ' '])
            .trim_start_matches("mut ")
            .trim_start_matches("const ")
            .trim_start_matches("dyn ");
        if shorter.len() == rest.len() {
            break;
        }
        rest = shorter;
    }
    let end = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(rest.len());
    if rest[end..].starts_with("::") {
        &rest[..end]
    } else {
        ""
    }
}

/// A name without generic arguments: `a::b::<C>` and `a::b<C>` are `a::b`. The type of a method
/// stays: `<a::B<C> as d::E<F>>::g` is `<a::B as d::E>::g`.
fn without_generics(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut skipped = 0usize;
    let mut before = ' ';
    for c in name.chars() {
        match c {
            '<' if skipped > 0 => skipped += 1,
            '<' if before.is_alphanumeric() || matches!(before, '_' | '}' | ':') => {
                skipped = 1;
                while plain.ends_with(':') {
                    plain.pop();
                }
            }
            // The arrow of a function type closes nothing.
            '>' if skipped > 0 && before != '-' => skipped -= 1,
            _ if skipped == 0 => plain.push(c),
            _ => {}
        }
        before = c;
    }
    plain
}

/// Whether a name lacks the path that every item of Rust has.
fn is_bare(name: &str) -> bool {
    let before_generics = name.split('<').next().unwrap_or(name);
    !name.starts_with('<') && !before_generics.contains("::")
}

/// The crate that a source file belongs to, by where it lies: below this workspace, or in a folder
/// named after a crate and perhaps its version.
fn package_of_file(file: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let inside = workspace.and_then(|root| Path::new(file).strip_prefix(root).ok());
    if let Some(folder) = inside
        .and_then(|path| path.iter().next())
        .and_then(|name| name.to_str())
    {
        return match folder {
            "runtime" => "openwork".to_owned(),
            folder => format!("openwork_{folder}"),
        };
    }
    let folder = file.rsplit_once("/src/").map_or("", |(before, _)| before);
    let folder = folder.rsplit('/').next().unwrap_or(folder);
    let name = match folder.rsplit_once('-') {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => folder,
    };
    name.replace('-', "_")
}

/// The module that a source file most likely is.
fn stem(file: &str) -> &str {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(package(name), expected, "{name}");
    }

    #[test]
    fn the_crate_is_read_from_a_name() {
        check("openwork::time::sleep", "openwork");
        check(
            "<alloc::boxed::Box<F> as core::ops::function::FnOnce<A>>::call_once",
            "alloc",
        );
        check("<&mut a_b::C as core::fmt::Write>::write_str", "a_b");
        check(
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "core",
        );
        check("<dyn std::any::Any>::is", "std");
        check("__libc_start_main", "");
        check("main", "");
        check("0x7f00", "");
        check("", "");
    }

    #[test]
    fn generic_arguments_are_left_out() {
        for (name, plain) in [
            ("a::b::c", "a::b::c"),
            ("a::b<c::D<E>, F>::g", "a::b::g"),
            ("a::b::<C>", "a::b"),
            ("a::{closure#0}<b::C>", "a::{closure#0}"),
            ("<a::B<C> as d::E<F>>::g::<H>", "<a::B as d::E>::g"),
            (
                "<dyn a::B<(), Output = ()> + c::D as e::F>::g",
                "<dyn a::B + c::D as e::F>::g",
            ),
            ("a::b<fn() -> c::D<E>>::f", "a::b::f"),
            ("<fn() -> a::B as c::D>::e", "<fn() -> a::B as c::D>::e"),
        ] {
            assert_eq!(without_generics(name), plain);
        }
    }

    #[test]
    fn a_bare_name_is_known_by_its_file() {
        let check = |name: &str, file: &str, expected: &str, package: &str| {
            let function = Function::new(
                name.to_owned(),
                name.to_owned(),
                Some(file.to_owned()),
                None,
            );
            assert_eq!(
                (function.name.as_str(), function.package.as_str()),
                (expected, package)
            );
        };
        let core = "/rustc/59807616/library/core/src/ops/function.rs";
        check("call_once<a::B>", core, "core::function::call_once", "core");
        let crates_io = "/r/registry/src/index.crates.io-19/sha2-asm-0.11.1/src/x86/mod.rs";
        check(
            "{closure#0}",
            crates_io,
            "sha2_asm::x86::{closure#0}",
            "sha2_asm",
        );
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/src/time.rs")
            .replace("observatory/../", "");
        check("sleep", &workspace, "openwork::time::sleep", "openwork");
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lanes.rs");
        check(
            "draw",
            own,
            "openwork_observatory::lanes::draw",
            "openwork_observatory",
        );
        check("a::b", own, "a::b", "a");
        check(
            "start_thread",
            "./nptl/pthread_create.c",
            "start_thread",
            "",
        );
    }

    #[test]
    fn a_function_of_this_program_is_named_with_its_place() {
        let symbols = Symbols::default();
        let mut addresses = Vec::new();
        backtrace::trace(|frame| {
            addresses.push((frame.ip() as usize).wrapping_sub(1));
            true
        });
        let names: Vec<_> = addresses
            .iter()
            .flat_map(|a| symbols.at(*a).to_vec())
            .collect();
        let own = names.iter().find(|f| {
            f.name
                .ends_with("::a_function_of_this_program_is_named_with_its_place")
        });
        let own = own.unwrap_or_else(|| panic!("not in {names:#?}"));
        assert_eq!(own.package, "openwork_observatory");
        assert!(
            own.file
                .as_ref()
                .is_some_and(|file| file.ends_with("symbol.rs")),
            "{own:?}"
        );
        assert!(own.line.is_some());
        assert!(
            !own.name.contains("::h") && !own.name.contains('['),
            "no hash in {}",
            own.name
        );
    }

    #[test]
    fn an_unknown_address_is_its_own_name() {
        assert_eq!(Symbols::default().at(0x10)[0].name, "0x10");
    }
}
