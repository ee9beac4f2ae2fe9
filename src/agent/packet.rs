//! One packet over a socket that keeps packets apart, with the descriptors that belong to it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg, sendmsg, socket_with,
    socketpair,
};
use serde::{Serialize, de::DeserializeOwned};

/// The longest packet, and the most descriptors with it: a file for each secret that can be asked for, and a few more.
pub const LONGEST: usize = 64 * 1024;
const MOST: usize = 80;

pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// A socket of the kind that [`super::local`] uses, not bound and not connected, and an address for it.
pub fn socket(path: &Path, flags: SocketFlags) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | flags, None)?;
    Ok((socket, SocketAddrUnix::new(path)?))
}

pub fn send(socket: impl AsFd, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one packet"));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A descriptor that came without words.
pub fn descriptor(socket: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    Ok(descriptor)
}

/// Nothing where the other end is gone. What came as a packet but is no `T` is [`io::ErrorKind::InvalidData`], and no byte of
/// it is told.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let came = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if came.bytes == 0 {
        return Ok(None);
    }
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    if came.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(bad("a packet that is too long"));
    }
    let message = serde_json::from_slice(&bytes[..came.bytes]).map_err(|_| bad("a packet that is not understood"))?;
    Ok(Some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Seek, Write},
    };

    use super::*;

    #[test]
    fn descriptors_travel_with_their_packet() {
        let (here, there) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"inside").unwrap();
        send(&here, &"one", &[file.as_fd()]).unwrap();
        send(&here, &"two", &[]).unwrap();
        let (message, mut descriptors) = receive::<String>(&there).unwrap().unwrap();
        let mut text = String::new();
        let mut again = File::from(descriptors.remove(0));
        again.rewind().unwrap();
        again.read_to_string(&mut text).unwrap();
        assert_eq!((message.as_str(), text.as_str(), descriptors.len()), ("one", "inside", 0));
        assert_eq!(receive::<String>(&there).unwrap().unwrap().0, "two");
        drop(here);
        assert!(receive::<String>(&there).unwrap().is_none());
    }

    #[test]
    fn what_is_not_understood_is_not_repeated() {
        let (here, there) = pair().unwrap();
        send(&here, &"hunter2", &[]).unwrap();
        let error = receive::<u32>(&there).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
