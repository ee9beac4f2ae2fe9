//! Live parts: server-sent events, each a piece of markup that takes the place of the one before. Script puts it there (`live.js`);
//! without script, the page is as it was when it was asked for.
//!
//! ```text
//! <div data-events="/rollouts/ID/events"> what is known now </div>
//!
//! data: <p>...</p>        instead of what the element holds
//! event: end              nothing more will come
//! :                       every few seconds, to see whether somebody is still there
//! ```
//!
//! A stream ends when its visitor is removed or the server goes, at once, and when its visitor is signed out, within [`BEAT`].

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http::header;
use maud::Markup;
use tokio::{sync::mpsc, time::interval};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{Console, session::Visitor};

/// How often a stream looks whether its visitor is still signed in.
const BEAT: Duration = Duration::from_secs(2);

/// Where the pieces go.
pub struct Feed(mpsc::Sender<String>);

/// Nobody is there any more.
pub struct Gone;

impl Feed {
    pub async fn show(&self, piece: Markup) -> Result<(), Gone> {
        let mut event = String::new();
        for line in piece.into_string().lines() {
            event.push_str("data: ");
            event.push_str(line);
            event.push('\n');
        }
        event.push('\n');
        self.0.send(event).await.map_err(|_| Gone)
    }

    /// Tells the page not to ask again.
    pub async fn end(&self) {
        let _ = self.0.send("event: end\ndata:\n\n".into()).await;
    }
}

/// Answers with what `tell` feeds, for as long as it does and somebody listens.
pub fn events<F>(console: Arc<Console>, visitor: Visitor, tell: impl FnOnce(Feed) -> F) -> Response
where
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (send, receive) = mpsc::channel(4);
    let told = tell(Feed(send.clone()));
    let follower = console.app.streams.follow(visitor.credential().identity.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = told => {}
            _ = follower.ended() => {}
            () = watched(&console, &visitor, &send) => {}
            () = send.closed() => {}
        }
    });
    let body = ReceiverStream::new(receive).map(|event| Ok::<_, Infallible>(Bytes::from(event)));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

/// Returns when the visitor is signed out, or does not listen.
async fn watched(console: &Console, visitor: &Visitor, to: &mpsc::Sender<String>) {
    let mut beat = interval(BEAT);
    loop {
        beat.tick().await;
        let credential = visitor.credential().clone();
        let alive = console.app.store.read(move |tx| tx.caller(&credential)).await.is_ok();
        if !alive || to.send(":\n\n".into()).await.is_err() {
            return;
        }
    }
}
