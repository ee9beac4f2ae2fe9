//! Style, script and icon: in the binary, named by their content, so that browsers keep them for good.

use std::{fmt::Write, sync::LazyLock};

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::header;
use sha2::{Digest, Sha256};

use super::page::Failure;

pub struct Asset {
    /// As a page refers to it.
    pub path: String,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, text: &'static str) -> Self {
        let mut path = format!("/static/{stem}-");
        for byte in &Sha256::digest(text)[..8] {
            let _ = write!(path, "{byte:02x}"); // a String takes everything
        }
        Self { path: format!("{path}.{extension}"), kind, text }
    }
}

pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));
pub static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", "text/javascript; charset=utf-8", include_str!("live.js")));
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

pub async fn get(Path(name): Path<String>) -> Response {
    match [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.path.strip_prefix("/static/") == Some(&name)) {
        Some(asset) => {
            let headers =
                [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, asset.text).into_response()
        }
        None => Failure::not_found().into_response(),
    }
}
