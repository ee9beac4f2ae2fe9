//! Compiles proto/ with protox, so that no protoc is needed; emits client or server code by feature.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    #[cfg(feature = "wire")]
    wire()?;
    Ok(())
}

#[cfg(feature = "wire")]
fn wire() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 11] = [
        "enrolment",
        "bundle",
        "secrets",
        "environments",
        "sessions",
        "users",
        "audit",
        "agent",
        "fleet",
        "rollouts",
        "console",
    ];
    // Messages that hold a value, a token or a join string: src/wire.rs writes their Debug by hand, which prints none of it.
    // Prost omits the derive, and the enclosing messages do not compile until that Debug exists.
    const SECRET: [&str; 10] = [
        ".keyfob.v1.BundleEntry",
        ".keyfob.v1.SecretValue",
        ".keyfob.v1.SecretValue.kind",
        ".keyfob.v1.SealedValue",
        ".keyfob.v1.EnrolRequest",
        ".keyfob.v1.CreateSessionResponse",
        ".keyfob.v1.InviteUserResponse",
        ".keyfob.v1.FetchResponse",
        ".keyfob.v1.FetchNamedResponse",
        ".keyfob.v1.CreateLinkResponse",
    ];
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES.map(|f| format!("keyfob/v1/{f}.proto")))?;
    // Read by reflection, and by the test that every call stands in the authorization matrix.
    std::fs::write(out.join("keyfob.v1.fds"), compiler.encode_file_descriptor_set())?;
    std::fs::write(out.join("calls.rs"), calls(&compiler.file_descriptor_set()))?;
    tonic_prost_build::configure()
        .build_client(std::env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(["SERVER", "AGENT"].iter().any(|f| std::env::var_os(format!("CARGO_FEATURE_{f}")).is_some()))
        .bytes(".keyfob.v1.BundleEntry.value")
        .bytes(".keyfob.v1.FetchResponse.ciphertext")
        .bytes(".keyfob.v1.FetchNamedResponse.ciphertext")
        .codec_path("crate::wire::Codec")
        .skip_debug(SECRET)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// One enum variant a call, so that a test that matches on all of them does not build when a new one has no row.
#[cfg(feature = "wire")]
fn calls(descriptors: &prost_types::FileDescriptorSet) -> String {
    let mut variants = String::new();
    let mut all = String::new();
    let mut paths = String::new();
    for file in descriptors.file.iter().filter(|f| f.package() == "keyfob.v1") {
        for service in &file.service {
            for method in &service.method {
                let variant = format!("{}{}", service.name().trim_end_matches("Service"), method.name());
                variants.push_str(&format!("    /// `{}/{}`\n    {variant},\n", service.name(), method.name()));
                all.push_str(&format!("Call::{variant}, "));
                paths.push_str(&format!("{:?}, ", format!("{}/{}", service.name(), method.name())));
            }
        }
    }
    format!(
        "/// Every call of every service.\n#[derive(Debug, Clone, Copy, PartialEq, Eq)]\npub enum Call {{\n{variants}}}\n\n\
         impl Call {{\n    pub const ALL: &'static [Self] = &[{all}];\n}}\n\n\
         /// As paths name them, after the package.\npub const PATHS: &[&str] = &[{paths}];\n"
    )
}
