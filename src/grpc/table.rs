//! Which methods there are, and which verb each stands for: one table. A method that isn't in it reaches nothing.

use crate::access::policy::Verb;

/// What calling a method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing: it tells only what is public.
    Open,
    /// A verified identity. The broker asks the policy about the verb; which of two it is, the message says.
    Verbs(&'static [Verb]),
}

use Access::{Open, Verbs};

/// The table.
pub(super) const TABLE: &[(&str, Access)] = &[
    ("/hallpass.v1.TargetService/ListTargets", Verbs(&[Verb::ListTargets])),
    ("/hallpass.v1.TargetService/GetTarget", Verbs(&[Verb::GetTarget])),
    ("/hallpass.v1.RequestService/SubmitRequest", Verbs(&[Verb::SubmitRequest])),
    ("/hallpass.v1.RequestService/GetRequest", Verbs(&[Verb::GetRequest])),
    ("/hallpass.v1.RequestService/ListRequests", Verbs(&[Verb::ListRequests])),
    ("/hallpass.v1.RequestService/WithdrawRequest", Verbs(&[Verb::WithdrawRequest])),
    ("/hallpass.v1.RequestService/ApproveRequest", Verbs(&[Verb::ApproveRequest])),
    ("/hallpass.v1.RequestService/DenyRequest", Verbs(&[Verb::DenyRequest])),
    ("/hallpass.v1.RequestService/WatchRequests", Verbs(&[Verb::WatchRequests, Verb::WatchRequest])),
    ("/hallpass.v1.GrantService/ClaimGrant", Verbs(&[Verb::ClaimGrant])),
    ("/hallpass.v1.GrantService/ReleaseGrant", Verbs(&[Verb::ReleaseGrant])),
    ("/hallpass.v1.GrantService/RevokeGrant", Verbs(&[Verb::RevokeGrant])),
    ("/hallpass.v1.GrantService/GetGrant", Verbs(&[Verb::GetGrant])),
    ("/hallpass.v1.GrantService/ListGrants", Verbs(&[Verb::ListGrants])),
    ("/hallpass.v1.ExceptionService/ListExceptions", Verbs(&[Verb::ListExceptions])),
    ("/hallpass.v1.ExceptionService/GetException", Verbs(&[Verb::GetException])),
    ("/hallpass.v1.FreezeService/FreezeTargets", Verbs(&[Verb::FreezeTargets])),
    ("/hallpass.v1.FreezeService/ThawTargets", Verbs(&[Verb::ThawTargets])),
    ("/hallpass.v1.FreezeService/ListFreezes", Verbs(&[Verb::ListFreezes])),
    ("/grpc.health.v1.Health/Check", Open),
    ("/grpc.health.v1.Health/Watch", Open),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Open),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Open),
];

/// What the method at this path takes; `None` if there is no such method. The path comes back as the table's own text,
/// which can be logged and recorded without a second thought.
pub(super) fn find(path: &str) -> Option<(&'static str, Access)> {
    TABLE.iter().find(|(known, _)| *known == path).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::DescriptorPool;

    use super::*;

    fn methods(descriptors: &[u8]) -> BTreeSet<String> {
        let pool = DescriptorPool::decode(descriptors).unwrap();
        let of = |service: prost_reflect::ServiceDescriptor| {
            let service_name = service.full_name().to_owned();
            service.methods().map(|method| format!("/{service_name}/{}", method.name())).collect::<Vec<_>>()
        };
        pool.services().flat_map(of).collect()
    }

    fn listed(wanted: impl Fn(Access) -> bool) -> BTreeSet<String> {
        TABLE.iter().filter(|(_, access)| wanted(*access)).map(|(path, _)| (*path).to_owned()).collect()
    }

    #[test]
    fn every_method_of_the_contract_needs_an_identity() {
        assert_eq!(listed(|access| access != Open), methods(crate::wire::DESCRIPTORS));
    }

    #[test]
    fn only_health_and_reflection_are_open() {
        let served = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        assert_eq!(listed(|access| access == Open), served.into_iter().flat_map(methods).collect());
    }

    #[test]
    fn every_verb_is_reached_by_exactly_one_method() {
        let reached = TABLE.iter().flat_map(|(_, access)| match access {
            Open => &[],
            Verbs(verbs) => *verbs,
        });
        let mut reached: Vec<String> = reached.map(|verb| format!("{verb:?}")).collect();
        let mut all: Vec<String> = Verb::all().map(|verb| format!("{verb:?}")).collect();
        reached.sort();
        all.sort();
        assert_eq!(reached, all);
    }

    #[test]
    fn what_is_not_listed_is_not_found() {
        for path in ["", "/", "/hallpass.v1.GrantService/", "/hallpass.v1.GrantService/ClaimGrant/", "*"] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
