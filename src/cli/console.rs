//! `keyfob console`: a link that signs its caller in to the console, printed and opened.

use std::{env, process::Stdio};

use serde_json::json;
use tokio::process::Command;

use super::{failure::Done, home::Home, output::Out, remote::Remote, views};
use crate::wire::v1;

/// In the login's directory: sends a browser on. A link on a browser's command line could be read, and used, by everybody here.
const FORWARD: &str = "console.html";

pub async fn open(home: &Home, remote: &Remote, out: &Out, no_browser: bool) -> Done {
    let link = remote.console().create_link(v1::CreateLinkRequest {}).await?.into_inner();
    if out.is_json() {
        return out.json(&json!({"url": link.url, "expires_at": views::time(&link.expires_at)}));
    }
    out.note("this link signs you in, once, within a minute; whoever opens it is you:");
    out.line(&link.url)?;
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some_and(|v| !v.is_empty()));
    if !no_browser && screen && !show(home, &link.url).await {
        out.note("no browser could be opened (xdg-open); open it yourself");
    }
    Ok(())
}

async fn show(home: &Home, url: &str) -> bool {
    // Our own URL: nothing in it needs escaping.
    let page = format!("<!doctype html><meta http-equiv=\"refresh\" content=\"0; url={url}\"><title>Keyfob</title>\n");
    let Ok(path) = home.put(FORWARD, page.as_bytes()) else { return false };
    let mut opener = Command::new("xdg-open");
    opener.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    opener.status().await.is_ok_and(|status| status.success())
}
