//! Which methods there are, and which verb each stands for: one table. A method that isn't in it reaches nothing.

use crate::{access::policy::Verb, wire::Method};

/// What calling a method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing: it tells only what is public.
    Open,
    /// A verified identity. The broker asks the policy about the verb; which of two it is, the message says.
    Verbs(&'static [Verb]),
}

/// The table: a row for each method of the contract, or it doesn't compile.
const fn access(method: Method) -> &'static [Verb] {
    match method {
        Method::ListTargets => &[Verb::ListTargets],
        Method::GetTarget => &[Verb::GetTarget],
        Method::SubmitRequest => &[Verb::SubmitRequest],
        Method::GetRequest => &[Verb::GetRequest],
        Method::ListRequests => &[Verb::ListRequests],
        Method::WithdrawRequest => &[Verb::WithdrawRequest],
        Method::ApproveRequest => &[Verb::ApproveRequest],
        Method::DenyRequest => &[Verb::DenyRequest],
        Method::WatchRequests => &[Verb::WatchRequests, Verb::WatchRequest],
        Method::ClaimGrant => &[Verb::ClaimGrant],
        Method::ReleaseGrant => &[Verb::ReleaseGrant],
        Method::RevokeGrant => &[Verb::RevokeGrant],
        Method::GetGrant => &[Verb::GetGrant],
        Method::ListGrants => &[Verb::ListGrants],
        Method::ListExceptions => &[Verb::ListExceptions],
        Method::SummarizeExceptions => &[Verb::SummarizeExceptions],
        Method::GetException => &[Verb::GetException],
        Method::FreezeTargets => &[Verb::FreezeTargets],
        Method::ThawTargets => &[Verb::ThawTargets],
        Method::ListFreezes => &[Verb::ListFreezes],
        Method::GetCheckpoint => &[Verb::GetCheckpoint],
        Method::ListLeaves => &[Verb::ListLeaves],
        Method::ProveInclusion => &[Verb::ProveInclusion],
        Method::ProveConsistency => &[Verb::ProveConsistency],
        Method::AddCosignature => &[Verb::AddCosignature],
        Method::GetStatus => &[Verb::GetStatus],
    }
}

/// The standard methods that tell only what is public.
const OPEN: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// What the method at this path takes; `None` if there is no such method. The path comes back as the table's own text,
/// which can be logged and recorded without a second thought.
pub(super) fn find(path: &str) -> Option<(&'static str, Access)> {
    let open = OPEN.iter().find(|known| **known == path).map(|known| (*known, Access::Open));
    let ours = || Method::ALL.iter().find(|(_, known)| *known == path);
    open.or_else(|| ours().map(|(method, known)| (*known, Access::Verbs(access(*method)))))
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

    #[test]
    fn every_method_of_the_contract_needs_an_identity() {
        for path in methods(crate::wire::DESCRIPTORS) {
            assert!(matches!(find(&path), Some((known, Access::Verbs(_))) if known == path), "{path}");
        }
    }

    #[test]
    fn only_health_and_reflection_are_open() {
        let served = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let open: BTreeSet<String> = OPEN.iter().map(ToString::to_string).collect();
        assert_eq!(open, served.into_iter().flat_map(methods).collect());
    }

    #[test]
    fn every_verb_is_reached_by_exactly_one_method() {
        let reached = Method::ALL.iter().flat_map(|(method, _)| access(*method));
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
