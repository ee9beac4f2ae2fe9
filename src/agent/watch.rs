//! The stream that the agent holds to hear of pushes, and what it does about them.
//!
//! ```text
//! Watch ─► push ─► gathered ─► fetch ─► fingerprints, files: whole ─► acknowledged
//!   │ broken: again, after a random wait     │ can't be installed: told, what is there stays
//!   └ revoked or ended: the files are wiped; what they held stays redacted
//! ```
//!
//! What is pending is told again when the stream opens, so nothing is lost with one that broke, and nothing is kept here for
//! that. Pushes that come within a moment are one fetch. An agent never goes back: a bundle with a lower sequence is refused
//! where files are installed. New shells see what is new; what runs keeps what it has.

use std::{convert::Infallible, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tonic::{Code, Status as Refusal, Streaming, transport::Channel};

use super::{
    fetch, files, notify, report,
    run::{Installed, install},
    serve::{Identified, Place},
};
use crate::{
    client::Error,
    domain::report::Line,
    wire::v1::{
        AcknowledgeRequest, WatchRequest, WatchResponse, bundle_service_client::BundleServiceClient,
        watch_response::Event,
    },
};

/// Pushes are gathered until none has come for so long,
const QUIET: Duration = Duration::from_millis(250);
/// but no longer than this.
const LONGEST: Duration = Duration::from_secs(2);
/// The first wait after a stream broke is anywhere below this, so that a thousand VMs whose server is gone do not come back in
/// the same second; each further one is twice as long, up to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// A stream that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(60);

/// Why a stream is over.
enum End {
    /// The session is.
    Over(Refusal),
    /// There is a newer certificate to come with.
    Renewed,
    Broken(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Status(status) if status.code() == Code::Unauthenticated => Self::Over(status),
            error => Self::Broken(error),
        }
    }
}

impl From<Refusal> for End {
    fn from(status: Refusal) -> Self {
        Error::from(status).into()
    }
}

/// Never ends by itself.
pub async fn watch(identified: &Identified, place: &Place<'_>) -> Infallible {
    let mut instance = [0; 16];
    if let Err(error) = getrandom::fill(&mut instance) {
        tracing::error!(%error, "no randomness; pushes do not reach this session");
        return std::future::pending().await;
    }
    // Where that can't be read, all that is due is told anew.
    let installed = files::read_manifest(place.dir).ok().flatten().map_or(0, |manifest| manifest.sequence);
    let mut watching = Watching { identified, place, instance, attempt: 0, installed };
    let (first, most) = BACKOFF;
    let mut ceiling = first;
    loop {
        let opened = Instant::now();
        match watching.stream().await {
            End::Renewed => {}
            End::Over(status) => {
                watching.over(&status);
                return std::future::pending().await;
            }
            End::Broken(error) => {
                if opened.elapsed() > GOOD {
                    ceiling = first;
                }
                let wait = identified.machine.chance.below(ceiling);
                tracing::info!(%error, retry_in_ms = wait.as_millis() as u64, "not connected to the control plane");
                sleep(wait).await;
                ceiling = (ceiling * 2).min(most);
            }
        }
    }
}

struct Watching<'a> {
    identified: &'a Identified,
    place: &'a Place<'a>,
    instance: [u8; 16],
    attempt: u64,
    /// The sequence of what is in place, 0 for nothing.
    installed: u64,
}

impl Watching<'_> {
    /// One stream, from its opening to its end.
    async fn stream(&mut self) -> End {
        match self.hear().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn hear(&mut self) -> Result<Infallible, End> {
        let mut renewed = self.identified.credentials.subscribe();
        renewed.mark_unchanged();
        let channel = self.identified.connect().await?;
        self.place.status.reached(&channel);
        let mut client = BundleServiceClient::new(channel.clone());
        self.attempt += 1; // also where the answer is lost: the same number twice would be a clone's
        let request =
            WatchRequest { sequence: self.installed, instance: self.instance.to_vec(), attempt: self.attempt };
        let mut stream = client.watch(request).await?.into_inner();
        tracing::debug!(self.installed, "watching");
        let mut gathered: Option<Gathered> = None;
        loop {
            let due = async {
                match &gathered {
                    Some(gathered) => sleep_until(gathered.end()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased; // what is ready at once is taken in this order, so that a simulated life can be repeated
                changed = renewed.changed() => if changed.is_ok() { return Err(End::Renewed) },
                () = due => {
                    gathered = None;
                    self.answer(&channel).await?;
                }
                pushed = next(&mut stream) => match pushed? {
                    sequence if sequence > self.installed => {
                        let now = Instant::now();
                        gathered.get_or_insert(Gathered { first: now, last: now }).last = now;
                    }
                    _ => {}
                },
            }
        }
    }

    /// Fetches, installs, and says what came of it.
    async fn answer(&mut self, channel: &Channel) -> Result<(), End> {
        let request = match self.install(channel.clone()).await {
            Ok(()) => AcknowledgeRequest { sequence: self.installed, ..Default::default() },
            // What it was told is told again when it comes back.
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(Error::Status(status)) if status.code() == Code::Unauthenticated => return Err(End::Over(status)),
            Err(error) => {
                tracing::error!(%error, "what was pushed can't be installed; what is there stays");
                AcknowledgeRequest {
                    error: Line::<500>::cut(&error.to_string()).into(),
                    error_names: report::may_name(&error),
                    ..Default::default()
                }
            }
        };
        BundleServiceClient::new(channel.clone()).acknowledge(request).await?;
        Ok(())
    }

    /// Over the connection that the stream is on: a push to ten thousand is no handshake for anybody.
    async fn install(&mut self, channel: Channel) -> Result<(), Error> {
        let Place { dir, floor, redacting, status, .. } = *self.place;
        let fetched = fetch::fetch(channel, &self.identified.own, floor).await?;
        let session = self.identified.own.subject.name();
        let prepared = redacting.prepare(dir, session, &fetched.entries).await?;
        let Installed { summary, report } =
            install(dir, &fetched, &prepared.encoded, floor, self.identified.machine.clock.now())?;
        drop(prepared);
        self.installed = fetched.sequence;
        drop(fetched); // and with it the values, before anything waits
        if let Ok(Some(manifest)) = files::read_manifest(dir) {
            status.installed(&manifest);
        }
        status.say(&report); // whose change is reported too
        status.contact();
        tracing::info!("pushed: {summary}");
        notify::status(&summary);
        Ok(())
    }

    /// The control plane took the session's secrets back.
    fn over(&self, refusal: &Refusal) {
        let why = format!("the control plane took this session's secrets back: {}", refusal.message());
        tracing::error!("{why}");
        if let Err(error) = self.place.dir.withdraw() {
            tracing::error!(%error, "not all files could be wiped");
        }
        if let Err(error) = files::tell_problem(self.place.dir, Some(&why), self.place.floor) {
            tracing::warn!(%error, "whoever logs in is not told");
        }
        notify::status(&format!("refused: {why}"));
        self.place.status.withdrawn(&why);
    }
}

/// The next push's sequence; 0 for what is none.
async fn next(stream: &mut Streaming<WatchResponse>) -> Result<u64, End> {
    match stream.message().await? {
        Some(WatchResponse { event: Some(Event::Push(push)) }) => Ok(push.sequence),
        Some(_) => Ok(0),
        None => Err(End::Broken(Error::Late { doing: "watching: the control plane ended the stream" })),
    }
}

/// Pushes that are answered together.
struct Gathered {
    first: Instant,
    last: Instant,
}

impl Gathered {
    fn end(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: when pushes come, in milliseconds; and when each fetch is.
    #[tokio::test(start_paused = true)]
    async fn pushes_that_come_together_are_one_fetch() {
        for (what, pushes, fetches) in [
            ("one", &[0][..], &[250][..]),
            ("ten in a second", &[0, 100, 200, 300, 400, 500, 600, 700, 800, 900], &[1_150]),
            ("two apart", &[0, 1_000], &[250, 1_250]),
            ("a stream of them", &[0, 240, 480, 720, 960, 1_200, 1_440, 1_680, 1_920, 2_160], &[2_000, 2_410]),
        ] {
            let start = Instant::now();
            let (mut gathered, mut found) = (None::<Gathered>, Vec::new());
            let ms = |t: u64| start + Duration::from_millis(t);
            for at in pushes.iter().map(|at| ms(*at)).chain([ms(u64::from(u32::MAX))]) {
                if let Some(end) = gathered.as_ref().map(Gathered::end).filter(|end| *end < at) {
                    found.push((end - start).as_millis() as u64);
                    gathered = None;
                }
                gathered.get_or_insert(Gathered { first: at, last: at }).last = at;
            }
            assert_eq!(found, fetches, "{what}");
        }
    }
}
