//! A way to a server on which connections are cut, or nothing moves any more. It knows nothing of what goes through.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// They go through.
    Open,
    /// They stay where they are; connections stay open, and new ones are accepted and silent.
    Silent,
}

/// See the module. It runs on the test's runtime, and ends with it.
#[derive(Debug)]
pub struct Pipe {
    /// On 127.0.0.1.
    pub port: u16,
    flow: watch::Sender<Flow>,
    cut: watch::Sender<u64>,
}

impl Pipe {
    /// One that leads to a port of this machine.
    pub fn to(port: u16) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let own = listener.local_addr().unwrap().port();
        let (flow, cut) = (watch::Sender::new(Flow::Open), watch::Sender::new(0));
        let (flows, cuts) = (flow.clone(), cut.clone());
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((caller, _)) = listener.accept().await {
                let (flow, mut cut) = (flows.subscribe(), cuts.subscribe());
                cut.borrow_and_update();
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(caller, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), flow) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { port: own, flow, cut }
    }

    /// Ends all connections that there are.
    pub fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }

    /// Lets nothing through any more, and tells nobody.
    pub fn silence(&self) {
        self.flow.send_replace(Flow::Silent);
    }

    /// Lets everything through again. What was under way is lost.
    pub fn lift(&self) {
        self.cut();
        self.flow.send_replace(Flow::Open);
    }
}

/// Carries bytes both ways for as long as they may go through, and then holds on to the connections.
async fn carry(mut caller: TcpStream, server: SocketAddr, mut flow: watch::Receiver<Flow>) {
    if flow.wait_for(|flow| *flow == Flow::Open).await.is_err() {
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut caller, &mut upstream) => return,
        _ = flow.wait_for(|flow| *flow == Flow::Silent) => {}
    }
    std::future::pending::<()>().await;
}
