//! What a panic tells. Its text may hold whatever was at hand (`expect` prints the error, a cut in the middle of a character
//! the whole string), so of a text that was put together at run time only the place is told; one that stands in the
//! source is told as it is. A backtrace comes with it where `RUST_BACKTRACE` asks for one.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, Write},
    panic::PanicHookInfo,
};

/// Called once, first thing, by a program.
pub fn start(program: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let _ = writeln!(io::stderr(), "{program}: {}", told(panic)); // where that is gone, there is nobody left to tell
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            let _ = writeln!(io::stderr(), "{trace}");
        }
    }));
}

fn told(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let text =
        panic.payload().downcast_ref::<&'static str>().unwrap_or(&"its text is left out, as it may hold a value");
    format!("a bug, please report it: panic at {place}: {text}")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    const ALONE: &str = "KEYFOB_TEST_PANICS";

    /// In processes of its own, because the hook is the whole process's.
    #[test]
    fn a_panic_tells_no_value() {
        const CANARY: &str = "canary-7f3a";
        if let Ok(which) = std::env::var(ALONE) {
            super::start("keyfob-test");
            let value = CANARY.replace('7', "7\u{e9}"); // known at run time only
            match &*which {
                "static" => panic!("written in the source"),
                "formatted" => panic!("this is {value}"),
                "array" => drop::<[u8; 4]>(value.into_bytes().try_into().unwrap()),
                "expect" => drop(value.parse::<std::net::IpAddr>().map_err(|_| &value).expect("an address")),
                "cut" => drop(value[..9].to_owned()),
                "any" => std::panic::panic_any(value),
                _ => drop(String::from_utf8([value.as_bytes(), &[0xff]].concat()).unwrap()),
            }
            unreachable!();
        }
        for which in ["static", "formatted", "array", "expect", "cut", "any", "utf8"] {
            let name = "panics::tests::a_panic_tells_no_value";
            let ran = Command::new("/proc/self/exe")
                .args(["--exact", name, "--nocapture"])
                .env(ALONE, which)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
            assert!(said.contains("keyfob-test: a bug, please report it: panic at "), "{which}: {said}");
            assert_eq!(said.contains("written in the source"), which == "static", "{which}: {said}");
            assert!(!said.contains("canary") && !said.contains("99, 97, 110"), "{which}: {said}");
        }
    }
}
