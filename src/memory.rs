//! Memory for values: neither swapped, nor dumped, nor (on the best rung) readable by the kernel itself.
//!
//! ```text
//! memfd_secret  pages leave the kernel's own map: /proc/PID/mem gives EIO, also to root (Linux 5.14; by default from 6.5)
//! mlock         anonymous, locked against swapping, MADV_DONTDUMP
//! none          anonymous, MADV_DONTDUMP; only where the caller accepts it
//! ```
//!
//! A forked child sees none of it. The only `unsafe` of the package is here: mapping, unmapping, and the slices over what is mapped.
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
            "no secret memory for {len} bytes ({refused}weaker than {} is not allowed). Raise LimitMEMLOCK=, or boot with secretmem.enable=1, or allow a weaker one",
            floor.as_str()
        )))
    }

    /// On exactly this rung.
    fn on(rung: Rung, len: usize) -> io::Result<Self> {
        const PAGE: usize = 4096;
        let mapped =
            len.max(1).checked_next_multiple_of(PAGE).and_then(NonZeroUsize::new).ok_or(io::ErrorKind::OutOfMemory)?;
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
        let (advice, for_child) = match rung {
            // The kernel keeps it out of dumps by itself; a child that dropped its copy would wipe ours.
            Rung::MemfdSecret => (None, MmapAdvise::MADV_DONTFORK),
            Rung::Mlock | Rung::None => (Some(MmapAdvise::MADV_DONTDUMP), MmapAdvise::MADV_WIPEONFORK),
        };
        for advice in advice.into_iter().chain([for_child]) {
            // SAFETY: advises on a mapping that `buf` owns, and changes no byte of it in this process.
            unsafe { madvise(start, mapped.get(), advice)? };
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

impl AsMut<[u8]> for SecretBuf {
    fn as_mut(&mut self) -> &mut [u8] {
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
    use std::{
        fs::File,
        io::{Read, Write},
        os::unix::fs::FileExt,
    };

    use super::*;

    const CANARY: usize = 32;

    /// How often 32 bytes occur in all memory of this process, read as a debugger of root's would. They are told inverted,
    /// so that asking makes no copy, and the window that is read through is left out.
    fn copies(inverted: &[u8; CANARY]) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut maps = String::new();
        File::open("/proc/self/maps").unwrap().read_to_string(&mut maps).unwrap();
        let mut window = SecretBuf::on(Rung::None, 1 << 20).unwrap();
        let own = window.as_ptr() as u64..window.as_ptr() as u64 + window.len() as u64;
        let mut found = 0;
        for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with('r'))) {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
            // Neighbours that are mapped alike are told as one.
            for (mut at, end) in [(start, end.min(own.start)), (start.max(own.end), end)] {
                while at < end {
                    let len = window.len().min((end - at) as usize);
                    if memory.read_exact_at(&mut window[..len], at).is_ok() {
                        let here = |w: &[u8]| w[0] == !inverted[0] && w.iter().zip(inverted).all(|(w, i)| *w == !i);
                        found += window[..len].windows(CANARY).filter(|w| here(w)).count();
                    }
                    at += if len == window.len() { (len - CANARY + 1) as u64 } else { len as u64 };
                }
            }
        }
        found
    }

    #[test]
    fn every_rung_holds_bytes_and_hides_them_as_it_says() {
        for (rung, while_held) in [(Rung::MemfdSecret, 0), (Rung::Mlock, 1), (Rung::None, 1)] {
            let mut buf = match SecretBuf::on(rung, 5000) {
                Ok(buf) => buf,
                Err(e) if rung == Rung::MemfdSecret && e.raw_os_error() == Some(libc::ENOSYS) => {
                    let _ = writeln!(
                        io::stderr(),
                        "not tested: memfd_secret; before Linux 6.5 it needs secretmem.enable=1"
                    );
                    continue;
                }
                Err(e) => panic!("{}: {e}", rung.as_str()),
            };
            assert!(buf.iter().all(|b| *b == 0) && buf.len() == 5000);
            // Straight from the kernel into the buffer: no other copy was ever made.
            let canary = 4000..4000 + CANARY;
            File::open("/dev/urandom").unwrap().read_exact(&mut buf[canary.clone()]).unwrap();
            let inverted = std::array::from_fn(|i| !buf[canary.start + i]);
            let peeked = File::open("/proc/self/mem").unwrap().read_at(&mut [0; 4], buf.as_ptr() as u64);
            match rung {
                Rung::MemfdSecret => assert_eq!(peeked.unwrap_err().raw_os_error(), Some(libc::EIO)),
                Rung::Mlock | Rung::None => assert_eq!(peeked.unwrap(), 4),
            }
            assert_eq!(copies(&inverted), while_held, "{} while held", rung.as_str());
            assert!(!format!("{buf:?}").contains(&format!("{:?}", &buf[canary])));
            drop(buf);
            assert_eq!(copies(&inverted), 0, "{} after drop", rung.as_str());
        }
    }

    #[test]
    fn the_kernel_knows_what_it_is() {
        // proc_pid_smaps(5): locked, not dumped, wiped in a child, not copied to a child
        for (rung, expected) in [
            (Rung::MemfdSecret, &["lo", "dd", "dc"][..]),
            (Rung::Mlock, &["lo", "dd", "wf"]),
            (Rung::None, &["dd", "wf"]),
        ] {
            let Ok(buf) = SecretBuf::on(rung, 4096) else { continue }; // the test above tells why not
            let mut maps = String::new();
            File::open("/proc/self/smaps").unwrap().read_to_string(&mut maps).unwrap();
            let start = format!("{:x}-", buf.as_ptr() as usize);
            let ours = maps.lines().skip_while(|line| !line.starts_with(&start));
            let flags = ours.into_iter().find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
            for flag in expected {
                assert!(flags.split_whitespace().any(|f| f == *flag), "{}: {flag} is not in {flags}", rung.as_str());
            }
        }
    }

    #[test]
    fn the_floor_counts() {
        assert!(SecretBuf::new(0, Rung::None).unwrap().is_empty());
        assert!(SecretBuf::new(16, Rung::Mlock).unwrap().rung() <= Rung::Mlock);
        for (len, floor, tried) in [
            (usize::MAX, Rung::None, &["memfd_secret: ", "mlock: ", "none: "][..]),
            (1 << 50, Rung::None, &["memfd_secret: ", "mlock: ", "none: "]),
            (1 << 50, Rung::Mlock, &["memfd_secret: ", "mlock: "]),
            (1 << 50, Rung::MemfdSecret, &["memfd_secret: "]),
        ] {
            let refused = SecretBuf::new(len, floor).unwrap_err().to_string();
            for part in ["memfd_secret: ", "mlock: ", "none: "] {
                assert_eq!(refused.contains(part), tried.contains(&part), "{refused}");
            }
            for next in ["LimitMEMLOCK=", "secretmem.enable=1"] {
                assert!(refused.contains(next), "{refused}");
            }
        }
    }

    #[test]
    fn it_is_wiped_when_dropped() {
        // An own mapping over the same file shows what the drop leaves: the pages outlive the first mapping.
        let fd = nix::sys::memfd::memfd_create("wiped", nix::sys::memfd::MFdFlags::empty()).unwrap();
        ftruncate(&fd, 4096).unwrap();
        let size = NonZeroUsize::new(4096).unwrap();
        // SAFETY: a fresh mapping that the buffer below owns from here on.
        let start = unsafe {
            mmap(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &fd, 0).unwrap()
        };
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
