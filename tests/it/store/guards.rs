//! What the schema refuses to whoever goes past the store with a connection of his own, and that a commit is whole whatever
//! happens to it. Statements are SQLite's; other databases have them in their own spelling.

use hallpass::{
    access::target::Target,
    store::{StoreError, Write},
};

use super::{
    Sql,
    retention::{batch, later, over},
    values::{World, person, target},
};

/// What nobody does to the log, and what keeps him from it.
const LOG_CHANGES: &[(&str, &str)] = &[
    ("UPDATE audit_events SET leaf = '{}'", "audit_events_never_change"),
    ("UPDATE audit_events SET hashes = zeroblob(32)", "audit_events_never_change"),
    ("UPDATE audit_events SET texts = '{}'", "audit_events_texts_only_go"),
    ("UPDATE OR REPLACE audit_events SET sequence = 2 WHERE sequence = 1", "audit_events_never_change"),
    ("DELETE FROM audit_events", "audit_events_never_go"),
    ("DELETE FROM audit_events WHERE sequence = (SELECT max(sequence) FROM audit_events)", "never_go"),
    (
        "INSERT OR REPLACE INTO audit_events (sequence, leaf, hashes) VALUES (1, '{\"sequence\":1}', zeroblob(32))",
        "audit_events_append",
    ),
    (
        "INSERT INTO audit_events (sequence, leaf, hashes) VALUES (1000, '{\"sequence\":1000}', zeroblob(32))",
        "audit_events_append",
    ),
    ("INSERT INTO audit_events (leaf, hashes) VALUES ('{}', zeroblob(32))", "audit_events_append"),
    (
        "INSERT INTO audit_events (sequence, leaf, hashes) \
         SELECT max(sequence) + 1, 'no JSON', zeroblob(32) FROM audit_events",
        "json",
    ),
    (
        "INSERT INTO audit_events (sequence, leaf, hashes) \
         SELECT max(sequence) + 1, '{\"sequence\":1}', zeroblob(32) FROM audit_events",
        "audit_events_leaf_numbered",
    ),
    (
        "INSERT INTO audit_events (sequence, leaf, hashes) \
         SELECT max(sequence) + 1, json_object('sequence', max(sequence) + 1), zeroblob(31) FROM audit_events",
        "audit_events_hashes_whole",
    ),
    (
        "INSERT INTO checkpoints (size, root, note, signed_at) VALUES (1000, zeroblob(32), 'n', 0)",
        "checkpoints_append",
    ),
    ("UPDATE checkpoints SET note = 'x'", "checkpoints_never_change"),
    ("DELETE FROM checkpoints", "checkpoints_never_go"),
    ("UPDATE cosignatures SET cosigned_at = 0", "cosignatures_only_later"),
    ("DELETE FROM cosignatures", "cosignatures_never_go"),
];

/// I8: not even past the daemon.
pub async fn nobody_changes_what_is_recorded(backend: impl Sql) {
    let world = World::new(&**backend.store());
    let target = target("orders", 1);
    world.active(&target, "dev").await;
    let pending = world.submit(&target, "dev").await;
    world.store_request(world.denial(&pending, &target, "lead")).await;
    world.submit(&target, "dev").await;
    world.opened(&target, "dev").await;
    world.cosigned(2).await;
    let cases = [
        ("UPDATE decisions SET approver_name = 'x'", "decisions_never_change"),
        ("UPDATE decisions SET signature = NULL", "decisions_never_change"),
        ("DELETE FROM decisions", "decisions_never_go"),
        ("INSERT OR REPLACE INTO decisions SELECT * FROM decisions", "decisions_append"),
        ("DELETE FROM requests", "requests_never_go"),
        (
            "UPDATE requests SET ticket = 'other', revision = 2 WHERE state = 'PENDING'",
            "requests_ask_never_changes",
        ),
        ("UPDATE requests SET state = 'PENDING', revision = revision + 1", "requests_move"),
        ("UPDATE requests SET revision = revision + 2", "requests_move"),
        ("DELETE FROM grants", "grants_never_go"),
        (
            "UPDATE grants SET closes_at = closes_at + 1, revision = 2 WHERE state = 'ISSUING'",
            "grants_terms_never_change",
        ),
        ("UPDATE grants SET state = 'REVOKED', revision = revision + 1", "grants_move"),
        ("UPDATE settings SET value = zeroblob(32)", "settings_never_change"),
        ("DELETE FROM settings", "settings_never_go"),
    ];
    for (statement, refused_by) in LOG_CHANGES.iter().chain(&cases).copied() {
        let refused = backend.run(statement).await.expect_err(statement);
        assert!(refused.to_lowercase().contains(refused_by), "{statement}: {refused}");
    }
}

pub async fn nothing_is_approved_without_approvals(backend: impl Sql) {
    let world = World::new(&**backend.store());
    let two = target("payments", 2);
    let request = world.submit(&two, "dev").await;
    world.approve(&request, &two, "lead").await;
    let cases = [
        (
            "UPDATE requests SET state = 'APPROVED', approved_at = 1, revision = revision + 1",
            "requests_approved_by_enough",
        ),
        (
            "UPDATE requests SET state = 'DENIED', lapses_at = NULL, revision = revision + 1",
            "requests_denied_in_writing",
        ),
        (
            "UPDATE requests SET state = 'CLAIMED', lapses_at = NULL, claimed_at = 1, revision = revision + 1",
            "requests_move",
        ),
        (
            "INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, \
                                    decided_at) \
             SELECT request_id, 2, verdict, approver_subject, approver_name, statement, digest, decided_at FROM decisions",
            "unique",
        ),
        (
            "INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, \
                                    decided_at) \
             SELECT request_id, 3, verdict, 'x', 'x', statement, digest, decided_at FROM decisions",
            "decisions_append",
        ),
    ];
    for (statement, refused_by) in cases {
        let refused = backend.run(statement).await.expect_err(statement);
        assert!(refused.to_lowercase().contains(refused_by), "{statement}: {refused}");
    }
}

/// The event is refused at the very end of the transaction, when the change is made already (I4).
pub async fn a_change_without_its_event_does_not_happen(backend: impl Sql) {
    let world = World::new(&**backend.store());
    let target = target("orders", 1);
    let request = world.submit(&target, "dev").await;
    backend.refuse_approvals().await;
    let approval = world.approval(&request, &target, "lead");
    let refused = world.store.commit(&[Write::Request(&approval)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
    world.is_stored(&request).await;
    assert_eq!(world.store.last_sequence().await.unwrap(), 1);
    backend.allow_approvals().await;
    world.store_request(approval).await;
}

/// Callers hang up whenever they like. Whatever a commit had done by then, it is all there or not at all, and the next
/// one works.
pub async fn a_dropped_commit_leaves_the_store_usable(backend: impl Sql) {
    let world = World::new(&**backend.store());
    let target = target("orders", 1);
    let (mut dropped, mut stored) = (0, 0);
    for polls in 0..60 {
        let request = world.submit(&target, "dev").await;
        let before = world.store.last_sequence().await.unwrap();
        let now = world.tick();
        let withdrawn = request.clone().withdraw(person("dev"), now).unwrap();
        let writes = [Write::Request(&withdrawn)];
        let mut commit = Box::pin(world.store.commit(&writes));
        for _ in 0..polls {
            let finished = std::future::poll_fn(|context| {
                std::task::Poll::Ready(commit.as_mut().poll(context).is_ready())
            });
            if finished.await {
                break;
            }
            // Gives the connection's thread the time to get somewhere.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
        drop(commit);
        // Comes after whatever the dropped commit's connection still has to do.
        let next = world.submit(&target, "dev").await;
        let events = world.store.last_sequence().await.unwrap() - before - 1;
        if events == 1 {
            stored += 1;
            world.is_stored(withdrawn.after()).await;
        } else {
            dropped += 1;
            assert_eq!(events, 0);
            world.is_stored(&request).await;
        }
        world.is_stored(&next).await;
    }
    assert!(dropped > 0, "{stored} stored, {dropped} dropped");
}

/// One that was held, one that was denied, and one that is held.
async fn one_of_each(world: &World<'_>, orders: &Target) {
    over(world, orders).await;
    let denied = world.submit(orders, "dev").await;
    world.store_request(world.denial(&denied, orders, "lead")).await;
    world.active(orders, "dev").await;
}

pub async fn texts_go_in_their_time_and_nothing_else_does(backend: impl Sql) {
    let world = World::new(&**backend.store());
    let orders = target("orders", 1);
    one_of_each(&world, &orders).await;
    let erasure = batch(&world, later(&world), 10).await.unwrap();
    let before = [
        // What isn't over, or only the request that isn't.
        ("UPDATE audit_events SET texts = NULL WHERE texts IS NOT NULL", "audit_events_texts_go_with_others"),
        ("UPDATE decisions SET statement = 'yes'", "decisions_texts_only_go"),
        ("UPDATE requests SET reason = 'other', revision = revision + 1", "requests_move"),
        (
            "UPDATE requests SET reason = 'sha256:' || hex(zeroblob(32)), digest = 'sha256:' || hex(zeroblob(32)), \
                                 texts_erased_at = 1, revision = revision + 1 \
              WHERE id IN (SELECT request_id FROM grants WHERE state = 'ACTIVE')",
            "requests_texts_only_go",
        ),
        (
            "UPDATE requests SET reason = 'x', digest = 'sha256:' || hex(zeroblob(32)), texts_erased_at = 1, \
                                 revision = revision + 1 \
              WHERE id NOT IN (SELECT request_id FROM grants WHERE state = 'ACTIVE')",
            "requests_texts_erased_when_settled",
        ),
        (
            "UPDATE requests SET reason = 'sha256:' || hex(zeroblob(32)), texts_erased_at = 1, revision = revision + 1 \
              WHERE id NOT IN (SELECT request_id FROM grants WHERE state = 'ACTIVE')",
            "requests_digest_without_reason",
        ),
        (
            "UPDATE requests SET reason = 'sha256:' || hex(zeroblob(32)), digest = 'sha256:' || hex(zeroblob(32)), \
                                 texts_erased_at = 1, claimed_at = 7, revision = revision + 1 \
              WHERE id NOT IN (SELECT request_id FROM grants WHERE state = 'ACTIVE')",
            "requests_move",
        ),
    ];
    for (statement, refused_by) in before {
        let refused = backend.run(statement).await.expect_err(statement);
        assert!(refused.to_lowercase().contains(refused_by), "{statement}: {refused}");
    }
    world.store.commit(&[Write::Erasure(&erasure)]).await.unwrap();
    let after = [
        (
            "UPDATE requests SET reason = 'back', digest = NULL, texts_erased_at = NULL, revision = revision + 1 \
              WHERE texts_erased_at IS NOT NULL",
            "requests_texts_only_go",
        ),
        (
            "UPDATE decisions SET statement = 'back', texts_erased_at = NULL WHERE texts_erased_at IS NOT NULL",
            "decisions_texts_only_go",
        ),
        ("UPDATE audit_events SET texts = '{}' WHERE texts IS NULL", "audit_events_texts_only_go"),
        ("UPDATE audit_events SET texts = NULL WHERE texts IS NOT NULL", "audit_events_texts_go_with_others"),
        (
            "INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, opens_at, closes_at, \
                                 opened_at, state, revision) \
             SELECT '01jdz5m2k3n4p5q6r7s8t9v0w9', id, target, 'p', 's', 'n', 0, 1, 0, 'ISSUING', 1 \
               FROM requests WHERE texts_erased_at IS NOT NULL AND state = 'DENIED'",
            "grants_not_without_texts",
        ),
        (
            "INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, \
                                    decided_at, texts_erased_at) \
             SELECT request_id, 2, verdict, 'x', 'x', statement, digest, decided_at, 1 FROM decisions",
            "decisions_",
        ),
    ];
    for (statement, refused_by) in after {
        let refused = backend.run(statement).await.expect_err(statement);
        assert!(refused.to_lowercase().contains(refused_by), "{statement}: {refused}");
    }
}
