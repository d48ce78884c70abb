//! Everything that a routine is given or makes is dropped exactly once, whatever happens: the whole
//! product of what the routine is, how far it has come, how it ends, what becomes of its handle and
//! how its runtime ends.

mod support;

use std::panic::panic_any;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use openwork::snapshot::RoutineState;
use openwork::{JoinError, JoinHandle, Runtime, Turn};
use support::{Gate, Ledger, Token, Watchdog, drop_quietly, poll_once, run_here, until};

const LONG: Duration = Duration::from_secs(100);

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Closure,
    /// Too large for the block.
    LargeClosure,
    Future,
    LargeFuture,
    Turns,
}

/// How far the routine is when its handle's fate strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// All workers are busy with others.
    New,
    Running,
    Blocked,
    Ended,
}

/// How the body ends, if it is not cancelled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Value,
    /// Its destructor panics.
    BadValue,
    Panic,
    /// The payload's destructor panics.
    BadPanic,
    /// A captured value's destructor panics.
    BadCapture,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Join,
    Drop,
    AbortJoin,
    AbortDrop,
    CancelJoin,
    PollJoin,
    PollDrop,
    /// Polled by another executor, on a thread of its own.
    Elsewhere,
    /// The handle outlives the runtime.
    JoinLate,
    DropLate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Drain,
    /// Shut down without time to drain, while the routine goes on.
    Cancel,
    /// As `Cancel`, but a blocked routine is never let go.
    CancelBlocked,
    DropRuntime,
}

const KINDS: [Kind; 5] = [
    Kind::Closure,
    Kind::LargeClosure,
    Kind::Future,
    Kind::LargeFuture,
    Kind::Turns,
];
const MOMENTS: [Moment; 4] = [Moment::New, Moment::Running, Moment::Blocked, Moment::Ended];
const OUTCOMES: [Outcome; 5] = [
    Outcome::Value,
    Outcome::BadValue,
    Outcome::Panic,
    Outcome::BadPanic,
    Outcome::BadCapture,
];
const FATES: [Fate; 10] = [
    Fate::Join,
    Fate::Drop,
    Fate::AbortJoin,
    Fate::AbortDrop,
    Fate::CancelJoin,
    Fate::PollJoin,
    Fate::PollDrop,
    Fate::Elsewhere,
    Fate::JoinLate,
    Fate::DropLate,
];
const ENDS: [End; 4] = [
    End::Drain,
    End::Cancel,
    End::CancelBlocked,
    End::DropRuntime,
];

#[derive(Clone, Copy, Debug)]
struct Case {
    workers: usize,
    kind: Kind,
    moment: Moment,
    outcome: Outcome,
    fate: Fate,
    end: End,
}

/// Each routine's result; `None` where the body makes none.
type Made = Option<Token>;

struct Body {
    case: Case,
    ledger: Arc<Ledger>,
    captured: Token,
    /// Opened by the body when it has begun.
    begun: Gate,
    /// Lets the body go on.
    go: Gate,
}

impl Body {
    fn outcome(self) -> Made {
        let Body {
            case,
            ledger,
            captured,
            ..
        } = self;
        let made = match case.outcome {
            Outcome::Value => Some(ledger.token()),
            Outcome::BadValue => Some(ledger.bad_token()),
            Outcome::Panic => panic_any(ledger.token()),
            Outcome::BadPanic => panic_any(ledger.bad_token()),
            Outcome::BadCapture => None,
        };
        drop(captured);
        made
    }

    fn run(self) -> Made {
        self.begun.open();
        match self.case.moment {
            Moment::Running => self.go.spin(),
            Moment::Blocked => self.go.wait(),
            Moment::New | Moment::Ended => {}
        }
        self.outcome()
    }

    async fn run_async(self) -> Made {
        self.begun.open();
        match self.case.moment {
            Moment::Running => self.go.spin(),
            Moment::Blocked => self.go.future().await,
            Moment::New | Moment::Ended => {}
        }
        self.outcome()
    }

    fn step(state: &mut (Option<Body>, u32)) -> Turn<Made> {
        state.1 += 1;
        let body = state.0.as_ref().unwrap();
        match (state.1, body.case.moment) {
            (1, _) => {
                body.begun.open();
                Turn::Again
            }
            (2, Moment::Running) => {
                body.go.spin();
                Turn::Again
            }
            (2, Moment::Blocked) => Turn::Wait(Box::pin(body.go.future())),
            _ => Turn::Done(state.0.take().unwrap().outcome()),
        }
    }
}

fn spawn(rt: &Runtime, body: Body) -> JoinHandle<Made> {
    let ballast = [7u64; 40];
    match body.case.kind {
        Kind::Closure => {
            let body = Box::new(body);
            rt.spawn(move || body.run())
        }
        Kind::LargeClosure => rt.spawn(move || {
            assert_eq!(ballast, [7u64; 40]);
            body.run()
        }),
        Kind::Future => {
            let body = Box::new(body);
            rt.spawn_future(Box::pin(async move { body.run_async().await }))
        }
        Kind::LargeFuture => rt.spawn_future(async move {
            let made = body.run_async().await;
            assert_eq!(ballast, [7u64; 40]);
            made
        }),
        Kind::Turns => rt.spawn_turns((Some(body), 0), Body::step),
    }
}

/// Whether the result is one that the case allows.
fn check_result(case: Case, result: &Result<Made, JoinError>) {
    let may_be_cancelled = matches!(
        case.fate,
        Fate::AbortJoin | Fate::AbortDrop | Fate::CancelJoin
    ) || case.end != End::Drain;
    let fits = match (result, case.outcome) {
        (Ok(Some(_)), Outcome::Value | Outcome::BadValue) => true,
        (Err(JoinError::Panicked(payload)), Outcome::Panic | Outcome::BadPanic) => {
            payload.is::<Token>()
        }
        (Err(JoinError::Panicked(_)), Outcome::BadCapture) => true,
        (Err(JoinError::Cancelled), _) => may_be_cancelled,
        _ => false,
    };
    assert!(
        fits,
        "{case:?} gave {result:?}",
        result = result.as_ref().map(|_| ())
    );
}

fn run(case: Case, watchdog: &Watchdog) {
    let ledger = Ledger::new();
    let rt = Runtime::builder()
        .workers(case.workers)
        .record_turns(false)
        .build()
        .unwrap();
    let runtime = rt.handle();
    watchdog.watch(&format!("{case:?}"), &runtime);
    let (begun, go) = (Gate::new(), Gate::new());

    let mut hogs = Vec::new();
    if case.moment == Moment::New {
        for _ in 0..case.workers {
            let (here, go) = (Gate::new(), go.clone());
            let at = here.clone();
            hogs.push(rt.spawn(move || {
                at.open();
                go.spin();
            }));
            here.spin();
        }
    }
    let captured = if case.outcome == Outcome::BadCapture {
        ledger.bad_token()
    } else {
        ledger.token()
    };
    let mut handle = spawn(
        &rt,
        Body {
            case,
            ledger: ledger.clone(),
            captured,
            begun: begun.clone(),
            go: go.clone(),
        },
    );
    match case.moment {
        Moment::New => {}
        Moment::Running => begun.spin(),
        Moment::Blocked => until("it is blocked", || {
            let view = runtime.routine(handle.id());
            view.is_some_and(|view| matches!(view.state, RoutineState::Blocked(_)))
        }),
        Moment::Ended => until("it has ended", || handle.is_finished()),
    }

    // First half of the handle's fate.
    match case.fate {
        Fate::AbortJoin | Fate::AbortDrop => handle.abort(),
        Fate::CancelJoin => handle.cancel(Duration::ZERO),
        _ => {}
    }
    let mut polled = None;
    if matches!(case.fate, Fate::PollJoin | Fate::PollDrop) {
        for _ in 0..2 {
            if let Poll::Ready(result) = poll_once(&mut handle) {
                polled = Some(result);
                break;
            }
        }
    }
    let keep_blocked = case.end == End::CancelBlocked && case.moment == Moment::Blocked;
    let mut elsewhere = None;
    let mut late = None;
    let mut joined = polled;
    match case.fate {
        Fate::Drop | Fate::AbortDrop | Fate::PollDrop => drop(handle),
        Fate::Elsewhere => elsewhere = Some(thread::spawn(move || run_here(handle))),
        Fate::JoinLate | Fate::DropLate => late = Some(handle),
        Fate::Join | Fate::AbortJoin | Fate::CancelJoin | Fate::PollJoin => {
            if keep_blocked {
                late = Some(handle);
            } else {
                go.open();
                if joined.is_none() {
                    joined = Some(handle.join());
                }
            }
        }
    }
    if !keep_blocked {
        go.open();
    }

    match case.end {
        End::Drain => rt.shutdown(LONG).unwrap(),
        End::Cancel | End::CancelBlocked => rt.shutdown(Duration::ZERO).unwrap(),
        End::DropRuntime => drop(rt),
    }
    drop(hogs);
    drop(runtime);
    if let Some(thread) = elsewhere {
        joined = Some(thread.join().unwrap());
    }
    if let Some(handle) = late {
        assert!(handle.is_finished(), "{case:?}");
        if case.fate == Fate::DropLate {
            drop(handle);
        } else if joined.is_none() {
            joined = Some(handle.join());
        }
    }
    if let Some(result) = joined {
        check_result(case, &result);
        drop_quietly(result);
    }
    ledger.check(&format!("{case:?}"));
}

fn walk(workers: usize, kinds: &[Kind]) {
    let watchdog = Watchdog::new("drops");
    for &kind in kinds {
        for moment in MOMENTS {
            for outcome in OUTCOMES {
                for fate in FATES {
                    for end in ENDS {
                        let case = Case {
                            workers,
                            kind,
                            moment,
                            outcome,
                            fate,
                            end,
                        };
                        run(case, &watchdog);
                    }
                }
            }
        }
    }
}

/// Broken by any path that forgets the body, the result, or either of them twice.
#[test]
fn closures_drop_everything_once_on_one_worker() {
    walk(1, &KINDS[..2]);
}

#[test]
fn closures_drop_everything_once_on_two_workers() {
    walk(2, &KINDS[..2]);
}

#[test]
fn futures_drop_everything_once_on_one_worker() {
    walk(1, &KINDS[2..]);
}

#[test]
fn futures_drop_everything_once_on_two_workers() {
    walk(2, &KINDS[2..]);
}
