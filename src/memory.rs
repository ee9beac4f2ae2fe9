//! Memory for values: neither swapped, nor dumped, nor (on the best rung) readable by the kernel itself.
//!
//! ```text
//! memfd_secret  pages leave the kernel's own map; reading /proc/PID/mem gives EIO, also to root (Linux 5.14; on by default from 6.5)
//! mlock         anonymous, locked, MADV_DONTDUMP; wiped in a forked child
//! none          anonymous, MADV_DONTDUMP; only where the caller accepts it
//! ```
//!
//! The only `unsafe` of the package is here: mapping, unmapping, and the slices over what is mapped.
#![allow(unsafe_code)] // maps memory; every block states what it relies on

use std::{
    fmt, io,
    num::NonZeroUsize,
    ops::{Deref, DerefMut},
    os::fd::{FromRawFd, OwnedFd},
    ptr::NonNull,
};

use nix::{
    sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap},
    unistd::ftruncate,
};
use zeroize::Zeroize;

/// How well a [`SecretBuf`] is protected, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    MemfdSecret,
    Mlock,
    None,
}

impl Rung {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemfdSecret => "memfd_secret",
            Self::Mlock => "mlock",
            Self::None => "none",
        }
    }
}

/// A mapping of fixed size, zeroed at first, wiped before it is unmapped.
pub struct SecretBuf {
    start: NonNull<u8>,
    len: usize,
    mapped: NonZeroUsize,
    rung: Rung,
}

// SAFETY: the mapping is owned by this value alone and reached only through `&self` and `&mut self`, like a `Box<[u8]>`.
unsafe impl Send for SecretBuf {}
// SAFETY: as above; `&SecretBuf` gives only shared slices.
unsafe impl Sync for SecretBuf {}

impl SecretBuf {
    /// `len` zero bytes on the best rung that the kernel gives; `floor` is the weakest one that will do.
    pub fn new(len: usize, floor: Rung) -> io::Result<Self> {
        let mut refused = String::new();
        for rung in [Rung::MemfdSecret, Rung::Mlock, Rung::None] {
            if rung > floor {
                break;
            }
            match Self::on(rung, len) {
                Ok(buf) => return Ok(buf),
                Err(error) => refused.push_str(&format!("{}: {error}; ", rung.as_str())),
            }
        }
        Err(io::Error::other(format!(
            "no secret memory for {len} bytes ({refused}the weakest allowed is {}). Raise LimitMEMLOCK=, or boot with secretmem.enable=1, or allow a weaker one",
            floor.as_str()
        )))
    }

    /// On exactly this rung.
    fn on(rung: Rung, len: usize) -> io::Result<Self> {
        const PAGE: usize = 4096;
        let mapped = len.max(1).checked_next_multiple_of(PAGE).and_then(NonZeroUsize::new).ok_or(io::ErrorKind::OutOfMemory)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let start = match rung {
            Rung::MemfdSecret => {
                let fd = memfd_secret()?;
                ftruncate(&fd, i64::try_from(mapped.get()).map_err(|_| io::ErrorKind::OutOfMemory)?)?;
                // SAFETY: a fresh shared mapping at an address of the kernel's choice aliases nothing of ours, and the file
                // behind it has `mapped` bytes and is closed, so nobody can shrink it.
                unsafe { mmap(None, mapped, protection, MapFlags::MAP_SHARED, &fd, 0)? }
            }
            Rung::Mlock | Rung::None => {
                // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing of ours.
                unsafe { mmap_anonymous(None, mapped, protection, MapFlags::MAP_PRIVATE)? }
            }
        };
        // From here on the drop unmaps it.
        let buf = Self { start: start.cast(), len, mapped, rung };
        if rung != Rung::MemfdSecret {
            // SAFETY: these advise on a mapping that `buf` owns, and change no byte of it in this process.
            unsafe {
                madvise(start, mapped.get(), MmapAdvise::MADV_DONTDUMP)?;
                let _ = madvise(start, mapped.get(), MmapAdvise::MADV_WIPEONFORK); // Linux 4.14; a fork without exec is not ours
            }
        }
        if rung == Rung::Mlock {
            // SAFETY: locks a mapping that `buf` owns; unmapping unlocks it.
            unsafe { mlock(start, mapped.get())? };
        }
        Ok(buf)
    }

    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// As shared bytes, for parsing without copying; wiped and unmapped when the last slice of them is dropped.
    #[cfg(feature = "wire")]
    pub fn into_bytes(self) -> bytes::Bytes {
        bytes::Bytes::from_owner(self)
    }
}

/// The raw system call: the C library has no wrapper for it yet.
fn memfd_secret() -> io::Result<OwnedFd> {
    // SAFETY: takes one integer and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just given us, and that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

impl Deref for SecretBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is mapped readable for `mapped >= len` bytes, initialized by the kernel, until `self` is dropped.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for SecretBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, mapped writable too, and `&mut self` excludes every other slice.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for SecretBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for SecretBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretBuf").field("len", &self.len).field("rung", &self.rung).finish_non_exhaustive()
    }
}

impl Drop for SecretBuf {
    fn drop(&mut self) {
        self.deref_mut().zeroize();
        // SAFETY: unmaps exactly what `on` mapped; no slice of it outlives `self`.
        let unmapped = unsafe { munmap(self.start.cast(), self.mapped.get()) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, os::unix::fs::FileExt};

    use super::*;

    /// Reads our own memory at an address, as root's debugger would.
    fn peek(address: usize, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        File::open("/proc/self/mem")?.read_exact_at(&mut bytes, address as u64)?;
        Ok(bytes)
    }

    #[test]
    fn every_rung_holds_bytes_and_hides_them_as_it_says() {
        for (rung, readable) in [(Rung::MemfdSecret, false), (Rung::Mlock, true), (Rung::None, true)] {
            let mut buf = match SecretBuf::on(rung, 5000) {
                Ok(buf) => buf,
                // Linux before 6.5 needs secretmem.enable=1.
                Err(e) if rung == Rung::MemfdSecret && e.raw_os_error() == Some(libc::ENOSYS) => continue,
                Err(e) => panic!("{}: {e}", rung.as_str()),
            };
            assert!(buf.iter().all(|b| *b == 0) && buf.len() == 5000);
            buf[4000..4007].copy_from_slice(b"hunter2");
            assert_eq!(&buf[4000..4007], b"hunter2");
            let seen = peek(buf.as_ptr() as usize + 4000, 7);
            assert_eq!(seen.is_ok_and(|bytes| bytes == b"hunter2"), readable, "{}", rung.as_str());
            assert!(!format!("{buf:?}").contains("hunter2"));
        }
    }

    #[test]
    fn locked_memory_is_locked_and_out_of_dumps() {
        let buf = SecretBuf::on(Rung::Mlock, 4096).unwrap();
        let mut maps = String::new();
        File::open("/proc/self/smaps").unwrap().read_to_string(&mut maps).unwrap();
        let start = format!("{:x}-", buf.as_ptr() as usize);
        let flags = maps.split_inclusive("VmFlags:").zip(maps.split("VmFlags:").skip(1));
        let flags = flags.filter(|(entry, _)| entry.contains(&start)).map(|(_, rest)| rest.lines().next().unwrap_or_default()).next().unwrap();
        for flag in ["lo", "dd", "wf"] {
            assert!(flags.split_whitespace().any(|f| f == flag), "{flag} is not among {flags}");
        }
    }

    #[test]
    fn the_floor_counts() {
        assert!(SecretBuf::new(0, Rung::None).unwrap().is_empty());
        assert!(SecretBuf::new(16, Rung::Mlock).unwrap().rung() <= Rung::Mlock);
        let refused = SecretBuf::new(usize::MAX, Rung::None).unwrap_err().to_string();
        assert!(refused.contains("LimitMEMLOCK"), "{refused}");
    }

    #[test]
    fn it_is_wiped_when_dropped() {
        // An own mapping over the same file shows what the drop leaves: the pages outlive the first mapping.
        let fd = nix::sys::memfd::memfd_create("wiped", nix::sys::memfd::MFdFlags::empty()).unwrap();
        ftruncate(&fd, 4096).unwrap();
        let size = NonZeroUsize::new(4096).unwrap();
        // SAFETY: a fresh mapping that the buffer below owns from here on.
        let start = unsafe { mmap(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &fd, 0).unwrap() };
        let mut buf = SecretBuf { start: start.cast(), len: 4096, mapped: size, rung: Rung::None };
        buf[..7].copy_from_slice(b"hunter2");
        let file = File::from(fd);
        let mut seen = [0; 7];
        file.read_exact_at(&mut seen, 0).unwrap();
        assert_eq!(&seen, b"hunter2");
        drop(buf);
        file.read_exact_at(&mut seen, 0).unwrap();
        assert_eq!(seen, [0; 7]);
    }
}
