//! How the C library's allocator keeps memory on a small device.

/// Bytes from which on an allocation gets pages of its own.
#[cfg(target_env = "gnu")]
const APART: i32 = 256 << 10;
/// Free bytes at the end of the heap that are kept for what comes.
#[cfg(target_env = "gnu")]
const KEPT: i32 = 1 << 20;

/// Large buffers get pages of their own from the system: untouched ones take no memory then, and freed ones go back. By
/// itself glibc raises that size after the first large free, and then clears large buffers (those of sled, of QUIC) in
/// the heap, which makes all of their pages resident: 6 MiB of an idle agent. Call it first in the program.
pub fn keep_lean() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, APART), (libc::M_TRIM_THRESHOLD, KEPT)] {
        // SAFETY: the call takes two numbers and locks the allocator itself.
        #[allow(unsafe_code, reason = "the C library has no other way to say this")]
        let taken = unsafe { libc::mallopt(parameter, value) };
        debug_assert_eq!(taken, 1, "the C library knows both parameters");
    }
}
