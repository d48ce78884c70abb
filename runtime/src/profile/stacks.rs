//! Where every routine stands: a dump of all stacks, taken without running them.
//!
//! A blocked routine is claimed for the moment of the walk, so that nobody resumes it on the stack
//! that is being read; a wake that comes meanwhile is carried out when the claim ends. Routines that
//! are not blocked are not waited for: the answer for them is the reason why there is none. Of one that was frozen in
//! the middle of its turn the handler that froze it has noted where it stands.

use std::fmt;

use super::frames::{self, Bounds, MAX_FRAMES};
use crate::handle::Handle;
use crate::routine::Header;
use crate::scheduler::walk::InspectGuard;
use crate::snapshot::{RoutineKind, RoutineState, RoutineView};

/// One routine and its stack.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// use openwork::profile;
/// for routine in profile::stacks(&rt.handle()) {
///     match routine.frames {
///         Ok(frames) => println!("{:?}: {:#x?}", routine.view.id, frames),
///         Err(why) => println!("{:?}: {why}", routine.view.id),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoutineStack {
    /// The routine, as it was when its stack was walked.
    pub view: RoutineView,
    /// Addresses within the call instructions of the functions it is in, innermost first, at most
    /// 128; or why there are none.
    pub frames: Result<Vec<usize>, NoStack>,
}

/// Why the stack of a routine was not walked.
///
/// ```
/// use openwork::profile::NoStack;
/// assert_eq!(NoStack::NotStarted.to_string(), "not started");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoStack {
    /// It has never run.
    NotStarted,
    /// It is running now, on another thread or as the caller, and was not frozen by the monitor: where frozen code
    /// stands is known, up to 64 frames.
    Running,
    /// It can run and waits for its worker, to whom its stack belongs.
    Runnable,
    /// It runs turn by turn and keeps no stack in between.
    BetweenTurns,
    /// It changed its state while it was looked at, or another dump is looking at it.
    Busy,
    /// It has an OS thread of its own, whose stack is not walked from outside: so in builds with the
    /// feature `portable` and on systems that need it.
    Elsewhere,
    /// It has ended, or there never was one of that number.
    Ended,
}

impl fmt::Display for NoStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoStack::NotStarted => "not started",
            NoStack::Running => "running",
            NoStack::Runnable => "waits for its worker",
            NoStack::BetweenTurns => "between turns, no stack",
            NoStack::Busy => "changed while it was looked at",
            NoStack::Elsewhere => "on a thread of its own, which is not walked",
            NoStack::Ended => "ended",
        })
    }
}

/// The stacks of all routines of `handle`'s runtime that have not ended, in no particular order.
/// Each is right for the moment it was looked at; together they are no snapshot.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// use openwork::{profile, time};
/// let sleeper = rt.spawn(|| time::sleep(std::time::Duration::from_secs(3600)));
/// let stacks = profile::stacks(&rt.handle());
/// assert_eq!(stacks[0].view.id, sleeper.id());
/// ```
pub fn stacks(handle: &Handle) -> Vec<RoutineStack> {
    let mut found = Vec::new();
    handle.for_each_header(&mut |header| found.extend(look_at(handle, header)));
    found
}

fn look_at(handle: &Handle, header: &Header) -> Option<RoutineStack> {
    let mut walked = [0; MAX_FRAMES];
    let mut depth = 0;
    // Nothing is allocated while the claim is held: it should be short.
    let Some(claim) = InspectGuard::take(header) else {
        let view = header.view()?;
        let why = unclaimed(&view)?;
        let frozen = match why {
            NoStack::Running => handle.frozen_frames(header),
            _ => None,
        };
        return Some(RoutineStack {
            view,
            frames: frozen.ok_or(why),
        });
    };
    let Some(stack) = claim.facts else {
        let view = header.view();
        drop(claim);
        return Some(RoutineStack {
            view: view?,
            frames: Err(NoStack::Elsewhere),
        });
    };
    if let Some(bounds) = Bounds::routine(stack.extent) {
        walked[0] = stack.saved_pc;
        depth = 1;
        // SAFETY: 1 the claim keeps the routine from being resumed; 2 its stacks belong to it until
        // it ends, which it cannot do meanwhile, and above the saved frame pointer they are in use.
        unsafe {
            frames::walk(stack.saved_fp, bounds, |address| {
                walked[depth] = address;
                depth += 1;
                depth < MAX_FRAMES
            });
        }
    }
    let view = header.view();
    drop(claim);
    Some(RoutineStack {
        view: view?,
        frames: Ok(walked[..depth].to_vec()),
    })
}

/// Why a routine could not be claimed; `None` if it has ended.
pub(crate) fn unclaimed(view: &RoutineView) -> Option<NoStack> {
    Some(match (view.state, view.kind) {
        (RoutineState::Ended, _) => return None,
        (RoutineState::New, _) => NoStack::NotStarted,
        (RoutineState::Running, _) => NoStack::Running,
        (_, RoutineKind::Turns) if view.stack.is_none() => NoStack::BetweenTurns,
        (RoutineState::Runnable, _) => NoStack::Runnable,
        (RoutineState::Blocked(_), _) => NoStack::Busy,
    })
}
