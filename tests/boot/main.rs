//! Machines that boot with nothing but a join string, against a real control plane. Every case runs in a container first,
//! where it takes seconds (`cargo test --test boot nspawn::`), then in a VM. Needs root; without it, says so and passes.

#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the tests that boot nothing")]
mod world;

mod enrolment; // one boot, by how it goes
mod machine; // a container or a VM, by the same methods
mod tree; // what they boot

macro_rules! on_both {
    ($($module:ident :: $case:ident),* $(,)?) => {
        mod nspawn {
            $(#[tokio::test]
            async fn $case() {
                crate::$module::$case(crate::machine::Kind::Nspawn).await;
            })*
        }
        mod vm {
            $(#[tokio::test]
            async fn $case() {
                crate::$module::$case(crate::machine::Kind::Vm).await;
            })*
        }
    };
}

on_both!(enrolment::variables_are_there);
