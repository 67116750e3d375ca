//! From a credential path to what makes its credentials.

use std::collections::BTreeMap;

use super::{
    Look,
    answers::{Connection, DatabaseRole, Engine, Inspection, Mount, Place, Seen},
};

/// The mount that a path is on: the longest that it begins with, with a slash at its end.
fn mount_of<'a>(mounts: &'a BTreeMap<String, Mount>, path: &str) -> Option<(&'a str, &'a Mount)> {
    let on = mounts.iter().filter(|(mount, _)| path.starts_with(mount.as_str()));
    on.max_by_key(|(mount, _)| mount.len()).map(|(mount, found)| (mount.as_str(), found))
}

impl Look<'_> {
    /// Looks at what is behind each path, and at each mount once.
    pub(super) async fn places(&mut self, paths: &[String], seen: &mut Inspection) {
        let Seen::There(mounts) = &seen.mounts else { return };
        for path in paths {
            let Some((mount, Mount { kind })) = mount_of(mounts, path) else { continue };
            if !seen.tunings.contains_key(mount) {
                let tuning = self.settings(&format!("sys/mounts/{mount}tune")).await;
                seen.tunings.insert(mount.to_owned(), tuning);
            }
            let below = path.get(mount.len()..).unwrap_or_default();
            let engine = self.engine(mount, kind, below).await;
            seen.places.insert(path.clone(), Place { mount: mount.to_owned(), engine });
        }
    }

    async fn engine(&mut self, mount: &str, kind: &str, below: &str) -> Engine {
        if kind != "database" {
            return Engine::Other(kind.to_owned());
        }
        let Some(name) = below.strip_prefix("creds/") else { return Engine::DatabaseOther };
        let role_path = format!("{mount}roles/{name}");
        let role: Seen<DatabaseRole> = self.settings(&role_path).await;
        let connection_path = match &role {
            Seen::There(role) => format!("{mount}config/{}", role.db_name),
            _ => String::new(),
        };
        let connection: Seen<Connection> =
            if connection_path.is_empty() { Seen::NotAsked } else { self.settings(&connection_path).await };
        Engine::Database { role_path, role, connection_path, connection }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_its_longest_mount() {
        let mount = |path: &str| (path.to_owned(), Mount { kind: path.to_owned() });
        let mounts = [mount("db/"), mount("db/eu/"), mount("d/")].into();
        let on = |path| mount_of(&mounts, path).map(|(mount, _)| mount);
        assert_eq!(on("db/creds/x"), Some("db/"));
        assert_eq!(on("db/eu/creds/x"), Some("db/eu/"));
        assert_eq!(on("dbx/creds/x"), None);
    }
}
