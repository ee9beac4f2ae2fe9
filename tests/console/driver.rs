//! A real browser: Debian's Chromium, driven by its chromedriver over WebDriver, which is JSON over HTTP.
//!
//! It trusts the CA of the world and nobody else, reaches loopback and nothing else, and keeps what it complained of.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{http::Peer, world::Ran};

/// How WebDriver names the field that holds an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub struct Browser {
    driver: Child,
    _printed: BufReader<ChildStdout>,
    peer: Peer,
    session: String,
    home: TempDir,
}

/// The screens that pages are looked at on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Screen {
    Desktop,
    Phone,
}

impl Browser {
    /// With these PEM certificates as the only authorities.
    pub fn start(authorities: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        trust(home.path(), authorities);
        dress(home.path());
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home.path())
            .env("FONTCONFIG_FILE", home.path().join(".config/fontconfig/fonts.conf"))
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs; tests/run installs it");
        let mut printed = BufReader::new(driver.stdout.take().expect("piped"));
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert_ne!(printed.read_line(&mut line).expect("a pipe"), 0, "chromedriver says no port");
            if let Some(port) = line.trim().strip_prefix("ChromeDriver was started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let profile = format!("--user-data-dir={}", home.path().join("profile").display());
        let mut arguments = vec![
            &*profile,
            "--headless",
            "--hide-scrollbars",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--force-prefers-reduced-motion",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
        ];
        if nix::unistd::geteuid().is_root() {
            arguments.push("--no-sandbox"); // Chromium's sandbox does not start for root
        }
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "unhandledPromptBehavior": "ignore",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        }}});
        let peer = Peer::plain(&format!("127.0.0.1:{port}"));
        let mut browser = Self { driver, _printed: printed, peer, session: String::new(), home };
        let made = browser.request("POST", "/session", &capabilities).expect("a browser session");
        browser.session = format!("/session/{}", made["sessionId"].as_str().expect("its id"));
        browser.look_at(Screen::Desktop);
        browser
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let headers = [("Content-Type", "application/json; charset=utf-8")];
        let answer = self.peer.ask(method, path, &headers, body.as_bytes());
        let mut told: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let value = told["value"].take();
        if answer.status == 200 { Ok(value) } else { Err(format!("{}: {}", value["error"], value["message"])) }
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let path = format!("{}/{path}", self.session);
        self.request("POST", &path, body).unwrap_or_else(|e| panic!("{path} {body}: {e}\nat {:?}", self.here()))
    }

    fn get(&self, path: &str) -> Value {
        self.request("GET", &format!("{}/{path}", self.session), &Value::Null).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    fn here(&self) -> Value {
        self.request("GET", &format!("{}/url", self.session), &Value::Null).unwrap_or_default()
    }

    pub fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    pub fn back(&self) {
        self.post("back", &json!({}));
    }

    pub fn url(&self) -> String {
        self.get("url").as_str().unwrap_or_default().to_owned()
    }

    pub fn html(&self) -> String {
        self.get("source").as_str().unwrap_or_default().to_owned()
    }

    /// What a function body gives for these `arguments`.
    pub fn run(&self, script: &str, arguments: &Value) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// As [`Browser::run`], of what calls its last argument when it is done.
    pub fn run_async(&self, script: &str, arguments: &Value) -> Value {
        self.post("execute/async", &json!({ "script": script, "args": arguments }))
    }

    /// Waits until an expression holds, on whatever page is there by then.
    pub fn wait_for(&self, expression: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        let script = json!({ "script": format!("return !!({expression})"), "args": [] });
        let path = format!("{}/execute/sync", self.session);
        loop {
            // A page that is just being left answers with an error.
            let told = self.request("POST", &path, &script);
            if told == Ok(Value::Bool(true)) {
                return;
            }
            assert!(
                Instant::now() < end,
                "waited 30 s in vain for {expression}: {told:?}, at {}\n{}",
                self.here(),
                self.text("body")
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn wait_for_path(&self, path: &str) {
        self.wait_for(&format!("document.readyState == 'complete' && location.pathname == {}", json!(path)));
    }

    fn find(&self, using: &str, value: &str) -> String {
        let found = self.post("element", &json!({ "using": using, "value": value }));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    pub fn has(&self, selector: &str) -> bool {
        self.run("return document.querySelector(arguments[0]) != null", &json!([selector])) == Value::Bool(true)
    }

    /// The text of the first element that matches, as it is rendered.
    pub fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        self.run(script, &json!([selector])).as_str().unwrap_or_default().to_owned()
    }

    pub fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())";
        serde_json::from_value(self.run(script, &json!([selector]))).expect("texts")
    }

    /// Clicks as a mouse does: what is hidden or covered is an error.
    pub fn click(&self, selector: &str) {
        let element = self.find("css selector", selector);
        self.post(&format!("element/{element}/click"), &json!({}));
    }

    /// Clicks the button or link of this name.
    pub fn press(&self, name: &str) {
        let name = json!(name);
        let xpath = format!(
            "//main//button[normalize-space()={name}] | //main//a[normalize-space()={name}] | //button[normalize-space()={name}] | //a[normalize-space()={name}]"
        );
        let element = self.find("xpath", &xpath);
        self.post(&format!("element/{element}/click"), &json!({}));
    }

    /// Presses what leads to another page, and waits for that.
    pub fn follow(&self, name: &str) {
        self.run("window.before = true", &json!([]));
        self.press(name);
        self.wait_for("document.readyState == 'complete' && !window.before");
    }

    /// Types into a field, after what is there.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.find("css selector", selector);
        self.post(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.find("css selector", selector);
        self.post(&format!("element/{element}/clear"), &json!({}));
        self.post(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    /// The name that assistive technology reads for an element.
    pub fn label(&self, selector: &str) -> String {
        let element = self.find("css selector", selector);
        self.get(&format!("element/{element}/computedlabel")).as_str().unwrap_or_default().to_owned()
    }

    /// Presses keys wherever the focus is. Special keys are WebDriver's code points.
    pub fn keys(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })])
            .collect();
        self.post("actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }));
    }

    pub fn cookies(&self) -> Vec<Value> {
        self.get("cookie").as_array().cloned().unwrap_or_default()
    }

    /// What pages complained of since it was last asked: errors, refused scripts and styles, failed loads.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        entries.iter().map(|e| format!("{}: {}", e["level"], e["message"])).collect()
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    pub fn look_at(&self, screen: Screen) {
        let (width, height) = screen.size();
        self.sized(width, height, screen == Screen::Phone);
    }

    pub fn sized(&self, width: u64, height: u64, mobile: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
    }

    pub fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    pub fn javascript(&self, on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !on }));
    }

    /// A picture of the whole page, on a screen that is as high as it.
    pub fn shot(&self, screen: Screen, file: &Path) {
        let (width, height) = screen.size();
        let whole = self.run("return document.documentElement.scrollHeight", &json!([])).as_u64().unwrap_or(height);
        self.sized(width, whole.max(height), screen == Screen::Phone);
        self.picture(file);
        self.look_at(screen);
    }

    /// A picture of what is seen on a screen of this size.
    pub fn shot_of(&self, width: u64, height: u64, file: &Path) {
        self.sized(width, height, false);
        self.picture(file);
        self.look_at(Screen::Desktop);
    }

    fn picture(&self, file: &Path) {
        let shot = self.devtools("Page.captureScreenshot", json!({ "format": "png" }));
        let png = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        fs::write(file, png).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

impl Browser {
    /// Ends it, and tells in which of the files that it leaves behind (history, form data, caches) a text stands.
    pub fn ends_with(&mut self, text: &str) -> Vec<PathBuf> {
        self.end();
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let needles = [text.as_bytes(), &wide].map(memchr::memmem::Finder::new);
        let mut found = Vec::new();
        let mut folders = vec![self.home.path().join("profile")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a profile").flatten() {
                let path = entry.path();
                let kind = entry.file_type().expect("a kind");
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let bytes = fs::read(&path).unwrap_or_default();
                    if needles.iter().any(|needle| needle.find(&bytes).is_some()) {
                        found.push(path);
                    }
                }
            }
        }
        found
    }

    fn end(&mut self) {
        if !self.session.is_empty() {
            let _ = self.peer.try_to_ask("DELETE", &self.session, &[], b"");
            self.session.clear();
        }
    }
}

impl Screen {
    fn size(self) -> (u64, u64) {
        match self {
            Self::Desktop => (1280, 800),
            Self::Phone => (390, 844),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.end(); // the driver ends its Chromium; a killed one would leave it behind
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Lets `system-ui` be a typeface like those of today's systems, and not this machine's fallback.
fn dress(home: &Path) {
    let fonts = home.join(".config/fontconfig");
    fs::create_dir_all(&fonts).expect("our own directory");
    let alias: String = ["system-ui", "sans-serif", "sans"]
        .iter()
        .map(|family| {
            format!(
                "<match target='pattern'><test name='family'><string>{family}</string></test>\
                 <edit name='family' mode='prepend' binding='strong'><string>Inter</string></edit></match>"
            )
        })
        .collect();
    let alias = format!(
        "<?xml version='1.0'?><!DOCTYPE fontconfig SYSTEM 'fonts.dtd'><fontconfig><include>/etc/fonts/fonts.conf</include>{alias}</fontconfig>"
    );
    fs::write(fonts.join("fonts.conf"), alias).expect("our own directory");
}

/// Chromium takes authorities of the user's from the NSS database in the home directory.
fn trust(home: &Path, authorities: &str) {
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database).expect("our own directory");
    let database = format!("sql:{}", database.display());
    let certutil = |arguments: &[&str]| {
        let ran = Command::new("certutil").arg("-d").arg(&database).args(arguments).output();
        Ran(ran.expect("certutil runs; tests/run installs it")).ok();
    };
    certutil(&["-N", "--empty-password"]);
    for (n, pem) in authorities.split_inclusive("-----END CERTIFICATE-----").enumerate() {
        if pem.trim().is_empty() {
            continue;
        }
        let file = home.join("authority.pem");
        fs::write(&file, pem.trim()).expect("our own directory");
        certutil(&["-A", "-t", "C,,", "-n", &format!("authority {n}"), "-i", file.to_str().expect("UTF-8")]);
    }
}
