//! Freezes, of every store: what they keep out, and that one at a time changes them.

use hallpass::{
    access::{
        change::Change,
        freeze::Freeze,
        grant::Grant,
        id::{FreezeId, GrantId},
        text::Prose,
    },
    store::{StoreError, Write},
};

use super::{
    Backend,
    values::{World, person, target},
};

pub fn freeze(world: &World<'_>, extent: &str, ends_grants: bool) -> Change<Freeze> {
    let (extent, now) = (extent.parse().unwrap(), world.tick());
    let id = FreezeId::new(now, 7);
    Freeze::begin(id, extent, person("opal"), Prose::new("a breach").unwrap(), ends_grants, now)
}

pub async fn no_grant_is_opened_of_what_is_frozen(backend: impl Backend) {
    let (world, orders, payments) =
        (World::new(&**backend.store()), target("orders", 1), target("payments", 1));
    for (extent, others) in [("orders", true), ("*", false)] {
        let change = freeze(&world, extent, true);
        world.store.commit(&[Write::Freeze(&change)]).await.unwrap();
        assert_eq!(world.store.freezes().await.unwrap(), [change.after().clone()]);
        for (target, opens) in [(&orders, false), (&payments, others)] {
            let request = world.approved(target, "dev").await;
            let (claimed, warrant) = request.claim(world.tick(), Some(target)).unwrap();
            let opened = Grant::open(GrantId::new(world.tick(), 1), warrant, world.tick());
            let done = world.store.commit(&[Write::Request(&claimed), Write::Grant(&opened)]).await;
            assert_eq!(done.is_ok(), opens, "{extent}: {done:?}");
            assert!(opens || matches!(done, Err(StoreError::Conflict { .. })), "{extent}: {done:?}");
        }
        let over = Prose::new("it is over").unwrap();
        let thaw = change.into_after().thaw(person("opal"), &over, world.tick()).unwrap();
        world.store.commit(&[Write::Freeze(&thaw)]).await.unwrap();
        assert_eq!(world.store.freezes().await.unwrap(), []);
        world.opened(&orders, "dev").await;
    }
}

pub async fn a_freeze_is_changed_by_one_at_a_time(backend: impl Backend) {
    let world = World::new(&**backend.store());
    let (orders, all) = (freeze(&world, "orders", false), freeze(&world, "*", false));
    for change in [&orders, &all] {
        world.store.commit(&[Write::Freeze(change)]).await.unwrap();
    }
    let both = [all.after().clone(), orders.after().clone()];
    assert_eq!(world.store.freezes().await.unwrap(), both, "the one of everything first");
    let conflicts = async |change: &Change<Freeze>| {
        let last = world.store.last_sequence().await.unwrap();
        let done = world.store.commit(&[Write::Freeze(change)]).await;
        assert!(matches!(done, Err(StoreError::Conflict { .. })), "{done:?}");
        assert_eq!(world.store.last_sequence().await.unwrap(), last, "and no event");
    };
    conflicts(&freeze(&world, "orders", true)).await;
    let (opal, why) = (person("opal"), Prose::new("worse").unwrap());
    let thaw = orders.after().clone().thaw(opal.clone(), &why, world.tick()).unwrap();
    let more = orders.into_after().end_grants(opal.clone(), &why, world.tick()).unwrap();
    world.store.commit(&[Write::Freeze(&more)]).await.unwrap();
    conflicts(&thaw).await;
    assert_eq!(world.store.freezes().await.unwrap()[1], *more.after());
    let thaw = more.into_after().thaw(opal, &why, world.tick()).unwrap();
    world.store.commit(&[Write::Freeze(&thaw)]).await.unwrap();
    conflicts(&thaw).await;
    world.store.commit(&[Write::Freeze(&freeze(&world, "orders", true))]).await.unwrap();
}
