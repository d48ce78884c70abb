//! Rule 10: a child of `fork` in which a carrier would go on.

use std::os::unix::process::ExitStatusExt;

use super::super::check_not_forked;
use super::*;

#[test]
fn a_forked_child_does_not_go_on_and_its_parent_does() {
    let test = "homes::platform::tests::forks::a_forked_child_does_not_go_on_and_its_parent_does";
    if let Some(output) = crate::stack::child::run(test) {
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{output:?}");
        assert!(told.contains("openwork: this process was forked"), "{told}");
        return;
    }
    end_if_it_hangs();
    let carrier = Carrier::enter();
    let mut routine = Routine::new(|yielder| {
        // SAFETY: the child does nothing but switch stacks, allocate, and end.
        let child = unsafe { libc::fork() };
        yielder.suspend(());
        child
    });
    assert!(routine.resume(&carrier).is_none());
    // As the scheduler does after each turn. The child ends here.
    check_not_forked();
    let child = routine.resume(&carrier).unwrap();
    let mut status = 0;
    // SAFETY: writes to `status`.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    let status = std::process::ExitStatus::from_raw(status);
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status:?}");
}
