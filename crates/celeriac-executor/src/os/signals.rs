//! What signals do in a child.

/// Ignores SIGPIPE, which `main` would have done, and SIGINT, which is the parent's to answer.
pub(crate) fn ignore_signals() {
    for signal in [libc::SIGPIPE, libc::SIGINT] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
