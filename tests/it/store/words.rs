//! Texts that people wrote, looked for in every store that has indexes of them.

use hallpass::{
    access::{kept::Reason, policy::Scope, request::Ask, text::Prose},
    store::{RequestFilter, Slice, Store},
};

use super::{
    Backend,
    values::{World, target},
};

/// How many requests have this in their texts.
pub async fn found(store: &dyn Store, text: &str) -> usize {
    let filter = RequestFilter { text: Some(text.to_owned()), ..RequestFilter::default() };
    let all = Slice { after: None, limit: 1000 };
    store.requests(&Scope::All, &filter, all).await.unwrap().items.len()
}

/// A request about this, with a statement of its approver.
pub async fn written(world: &World<'_>, reason: &str) {
    let target = target("orders", 1);
    let reason = Reason::Kept(Prose::new(reason).unwrap());
    let ask = Ask { reason, ..world.ask(&target, "dev") };
    let request = world.submit_ask(&target, ask).await;
    world.approve(&request, &target, "lead").await;
}

/// A text alone is asked of the indexes; beside a person, each of his requests is looked at.
pub async fn a_text_beside_a_person_is_found_where_it_is_found_alone(backend: impl Backend) {
    let world = World::new(&**backend.store());
    let reasons = [
        "The QUEUE hangs",
        "100% of it, or 100 percent",
        "a_b and a-b",
        "C:\\new and 'so' and \"so\"",
        "Überfällig seit GESTERN",
        "300 \u{212a}elvin, mi\u{17f}t",
        "日本語のテキスト",
        "nothing",
    ];
    for reason in reasons {
        written(&world, reason).await;
    }
    let cases = [
        ("the queue", 1),
        ("100%", 1),
        ("0% o", 1),
        ("a_b", 1),
        ("\\new", 1),
        ("\"so\"", 1),
        ("überfällig", 1),
        ("ÜBERFÄLLIG SEIT", 1),
        ("gestern", 1),
        ("300 kelvin", 1),
        ("300 \u{212a}", 1),
        ("\u{212a}ELVIN", 1),
        ("mist", 1),
        ("本語の", 1),
        ("GO AHEAD", reasons.len()),
        ("there is none", 0),
        ("sha256:", 0),
    ];
    for (text, expected) in cases {
        assert_eq!(found(world.store, text).await, expected, "{text}");
        let of_a_person = RequestFilter {
            text: Some(text.to_owned()),
            requester: Some("dev".into()),
            ..RequestFilter::default()
        };
        let all = Slice { after: None, limit: 1000 };
        let part = world.store.requests(&Scope::All, &of_a_person, all).await.unwrap();
        assert_eq!(part.items.len(), expected, "{text}, beside a person");
    }
}
