//! A way to the server that can be cut: all connections at once, or none.

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

pub struct Link {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    server: Mutex<String>,
    open: Mutex<Vec<TcpStream>>,
    carried: AtomicUsize,
    over: AtomicBool,
}

impl Link {
    /// Leads nowhere until it is told where.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::<Shared>::default();
        let carrying = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if carrying.over.load(Relaxed) {
                    return;
                }
                let server = carrying.server.lock().unwrap().clone();
                let Ok(upstream) = TcpStream::connect(server) else { continue };
                carrying.carried.fetch_add(1, Relaxed);
                {
                    let mut open = carrying.open.lock().unwrap();
                    open.retain(|tcp| tcp.take_error().is_ok());
                    open.push(client.try_clone().unwrap());
                    open.push(upstream.try_clone().unwrap());
                }
                for (mut from, mut to) in [
                    (client.try_clone().unwrap(), upstream.try_clone().unwrap()),
                    (upstream.try_clone().unwrap(), client.try_clone().unwrap()),
                ] {
                    thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    });
                }
            }
        });
        Self { port, shared }
    }

    pub fn leads_to(&self, server: &str) {
        *self.shared.server.lock().unwrap() = server.to_owned();
    }

    /// Cuts one in so many of the connections that are open; 1 cuts all.
    pub fn cut(&self, one_in: usize) {
        let mut open = self.shared.open.lock().unwrap();
        for (_, tcp) in open.iter().enumerate().filter(|(n, _)| n / 2 % one_in == 0) {
            let _ = tcp.shutdown(Shutdown::Both);
        }
        if one_in == 1 {
            open.clear();
        }
    }

    pub fn carried(&self) -> usize {
        self.shared.carried.load(Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        self.cut(1);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes it
    }
}
