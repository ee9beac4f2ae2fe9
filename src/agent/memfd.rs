//! Memory that is handed on by its descriptor: written once, and sealed, so that nobody can change it any more.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

const SEALS: SealFlag =
    SealFlag::F_SEAL_SEAL.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_WRITE);

/// `name` is for people who look at `/proc/PID/fd`. Who reads it begins with [`std::io::Seek::rewind`], or says where.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.write_all(bytes)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(file.into())
}

/// Whether nobody can change it any more. What is no such memory has no seals.
pub fn is_sealed(fd: impl AsFd) -> bool {
    fcntl(fd, FcntlArg::F_GET_SEALS).is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SEALS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_write_to_it() {
        let fd = sealed("test", b"x").unwrap();
        assert!(is_sealed(&fd));
        assert!(File::from(fd).write_all(b"y").is_err());
        assert!(!is_sealed(memfd_create("test", MFdFlags::MFD_ALLOW_SEALING).unwrap()));
        assert!(!is_sealed(tempfile::tempfile().unwrap()));
    }
}
