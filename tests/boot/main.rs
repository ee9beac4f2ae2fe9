//! Machines that boot with nothing but a join string, against a real control plane. Every case runs in a container first,
//! where it takes seconds (`cargo test --test boot nspawn::`), then in a VM. Needs root; without it, says so and passes.

#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the tests that boot nothing")]
mod world;

mod enrolment; // one boot, by how it goes
mod journal; // what is logged, and what arrives
mod life; // what people meet: a race to log in, a doctor, a stop, a boot without secrets
mod load; // who logs, inside a machine
mod machine; // a container or a VM, by the same methods
mod tree; // what they boot
mod ways_in; // logins, commands, jobs, units: who sees the variables

macro_rules! cases {
    ($kind:ident: $($module:ident :: $case:ident),* $(,)?) => {
        // While a case waits for its machine, its connections go on answering.
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
        async fn $case() {
            crate::$module::$case(crate::machine::Kind::$kind).await;
        })*
    };
}

mod nspawn {
    cases!(Nspawn:
        enrolment::variables_are_there,
        enrolment::a_bad_join_string_fails_the_unit,
        enrolment::an_absent_server_fails_the_unit_in_time,
        enrolment::a_late_server_is_waited_for,
        enrolment::a_killed_agent_leaves_the_files,
        life::a_stopped_agent_leaves_nothing,
        life::a_service_hears_of_a_rotation,
        life::without_secrets,
        life::the_doctor_agrees,
        life::no_login_comes_first,
        journal::all_arrives_and_no_value,
        journal::sessions_and_services,
    );
}

mod vm {
    cases!(Vm:
        enrolment::variables_are_there,
        enrolment::a_bad_join_string_fails_the_unit,
        enrolment::an_absent_server_fails_the_unit_in_time,
        life::no_login_comes_first,
        journal::all_arrives_and_no_value,
    );
}

/// Not a case: what this program does when it is started inside a machine.
#[test]
fn role() {
    load::play();
}
