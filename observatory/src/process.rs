//! What the kernel says about this process and about the sampler's thread.
//!
//! The files stay open and are read again from the start: two `pread` calls a sample. Where a file
//! is missing or reads unlike expected, the figure is `None`.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Resident memory and processor time of the process.
#[derive(Debug)]
pub(crate) struct Process {
    stat: Option<File>,
    units: Option<Units>,
}

/// Sizes in which the kernel counts, from the auxiliary vector that it gave us at the start.
#[derive(Clone, Copy, Debug)]
struct Units {
    page_bytes: u64,
    ticks_per_second: u64,
}

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) rss_bytes: Option<u64>,
    pub(crate) cpu_ns: Option<u64>,
}

impl Process {
    pub(crate) fn open() -> Process {
        Process {
            stat: File::open("/proc/self/stat").ok(),
            units: std::fs::read("/proc/self/auxv")
                .ok()
                .and_then(|auxv| units(&auxv)),
        }
    }

    pub(crate) fn read(&self) -> Usage {
        let (Some(stat), Some(units)) = (&self.stat, self.units) else {
            return Usage::default();
        };
        let mut buffer = [0; 1024];
        match stat.read_at(&mut buffer, 0) {
            Ok(length) => usage(&buffer[..length], units),
            Err(_) => Usage::default(),
        }
    }
}

/// Processor time of the thread that opened it.
#[derive(Debug)]
pub(crate) struct ThreadClock {
    schedstat: Option<File>,
}

impl ThreadClock {
    /// For the calling thread; only there the reading means anything.
    pub(crate) fn open() -> ThreadClock {
        ThreadClock {
            schedstat: File::open("/proc/thread-self/schedstat").ok(),
        }
    }

    /// Nanoseconds on a processor since the thread began.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        let mut buffer = [0; 128];
        let length = self.schedstat.as_ref()?.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    }
}

fn units(auxv: &[u8]) -> Option<Units> {
    // Keys of getauxval(3).
    const AT_PAGESZ: u64 = 6;
    const AT_CLKTCK: u64 = 17;
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("chunks of one word");
        usize::from_ne_bytes(bytes) as u64
    };
    let find = |key: u64| {
        auxv.chunks_exact(2 * WORD)
            .map(|pair| (word(&pair[..WORD]), word(&pair[WORD..])))
            .find_map(|(k, value)| (k == key && value > 0).then_some(value))
    };
    Some(Units {
        page_bytes: find(AT_PAGESZ)?,
        ticks_per_second: find(AT_CLKTCK)?,
    })
}

fn usage(stat: &[u8], units: Units) -> Usage {
    // The second field is the program's name in parentheses and may hold anything, so counting
    // starts behind the last one: the next field is number 3 of proc_pid_stat(5).
    let fields: Vec<u64> = String::from_utf8_lossy(stat)
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_ascii_whitespace()
                .map(|field| field.parse().unwrap_or(u64::MAX))
                .collect()
        })
        .unwrap_or_default();
    let field = |number: usize| {
        fields
            .get(number - 3)
            .copied()
            .filter(|value| *value != u64::MAX)
    };
    let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
    Usage {
        rss_bytes: field(24).map(|pages| pages * units.page_bytes),
        cpu_ns: ticks.map(|ticks| ticks * (1_000_000_000 / units.ticks_per_second)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Units = Units {
        page_bytes: 4096,
        ticks_per_second: 100,
    };

    #[track_caller]
    fn check(stat: &str, rss_bytes: Option<u64>, cpu_ns: Option<u64>) {
        let expected = Usage { rss_bytes, cpu_ns };
        assert_eq!(usage(stat.as_bytes(), UNITS), expected);
    }

    #[test]
    fn a_programs_name_cannot_shift_the_fields() {
        let rest = "S 1 2 3 0 -1 64 1 2 3 4 250 50 0 0 20 0 8 0 99 777 10 1";
        check(
            &format!("7 (openwork) {rest}"),
            Some(40_960),
            Some(3_000_000_000),
        );
        check(
            &format!("7 (a) 9 9 (b) {rest}"),
            Some(40_960),
            Some(3_000_000_000),
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_zero() {
        check("", None, None);
        check("7 (openwork) S 1 2", None, None);
    }

    #[test]
    fn this_process_has_memory_and_this_thread_a_clock() {
        let usage = Process::open().read();
        assert!(
            usage.rss_bytes.is_some_and(|bytes| bytes > 64 * 1024),
            "{usage:?}"
        );
        assert!(usage.cpu_ns.is_some(), "{usage:?}");
        let clock = ThreadClock::open();
        let Some(before) = clock.cpu_ns() else {
            return; // A kernel without CONFIG_SCHED_INFO: the figure is rightly absent.
        };
        let mut x = 1u64;
        while clock.cpu_ns() == Some(before) {
            x = std::hint::black_box(x.wrapping_mul(31));
        }
    }
}
