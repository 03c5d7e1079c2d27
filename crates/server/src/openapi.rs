//! The OpenAPI document of the API, from the handlers and views themselves.

use std::sync::LazyLock;

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, Ref};
use utoipa::{Modify, OpenApi};

use crate::handlers::{
    account, admin, builds, bundles, connections, datasets, deploy_tokens, log, node, passkeys, projects, row_api,
    scenarios, session, table, targets,
};
use crate::views::ProblemView;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stet",
        description = "Corrections logged beside the original data. A cell always travels as canonical text or null, never \
            as a JSON number. Failures are problem documents (RFC 9457)."
    ),
    paths(
        node::healthz,
        node::metrics,
        node::openapi,
        node::status,
        session::sign_in,
        session::show,
        session::sign_out,
        session::options,
        session::begin_provider,
        session::end_provider,
        account::sessions,
        account::end_session,
        account::password,
        account::tokens,
        account::add_token,
        account::revoke_token,
        account::second_factor,
        account::begin_second_factor,
        account::confirm_second_factor,
        account::renew_recovery_codes,
        account::remove_second_factor,
        passkeys::list,
        passkeys::add,
        passkeys::begin,
        passkeys::remove,
        passkeys::begin_approval,
        admin::users,
        admin::add_user,
        admin::change_user,
        admin::revoke_token,
        admin::groups,
        admin::add_group,
        admin::remove_group,
        admin::add_member,
        admin::remove_member,
        admin::tokens,
        connections::list,
        connections::add,
        connections::change,
        connections::remove,
        connections::test,
        admin::audit,
        admin::export_audit,
        projects::list,
        projects::show,
        projects::access,
        projects::set_permissions,
        projects::set_webapp_access,
        projects::flow,
        projects::events,
        datasets::show,
        datasets::rows,
        builds::start,
        builds::list,
        builds::show,
        builds::cancel,
        scenarios::list,
        scenarios::start,
        scenarios::runs,
        scenarios::run,
        targets::node,
        deploy_tokens::list,
        deploy_tokens::add,
        deploy_tokens::revoke,
        targets::list,
        targets::add,
        targets::remove,
        targets::test,
        targets::push,
        targets::pushed,
        bundles::bring,
        bundles::show,
        bundles::download,
        bundles::diff,
        bundles::approve,
        bundles::plan,
        bundles::plan_edits,
        bundles::activate,
        bundles::list,
        bundles::create,
        bundles::deployments,
        bundles::deployment,
        bundles::rollback,
        table::show,
        table::rows,
        table::groups,
        table::wait,
        table::cancel_wait,
        table::edit,
        table::history,
        log::show,
        log::seal,
        log::verify,
        log::cancel_verification,
        log::plan,
        log::revert,
        table::links,
        table::presence,
        table::reload,
        table::events,
        row_api::create,
        row_api::read,
        row_api::read_all_edits,
        row_api::update,
        row_api::delete,
        row_api::label,
        row_api::lookup,
    ),
    components(schemas(ProblemView)),
    security(("session" = []), ("token" = [])),
    modifiers(&Common)
)]
struct Document;

/// The document as JSON.
pub(crate) fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        Document::openapi().to_pretty_json().unwrap_or_else(|error| {
            tracing::error!(%error, "the OpenAPI document cannot be written");
            "{}".to_owned()
        })
    });
    &TEXT
}

/// What all operations have in common: how one signs in, and the form of failures.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                "stet_session",
                "Set by signing in. Over https its name is `__Host-stet_session`.",
            ))),
        );
        components.add_security_scheme(
            "token",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        );
        for item in document.paths.paths.values_mut() {
            for operation in operations(item) {
                let failure = ResponseBuilder::new()
                    .description("A failure, in plain words")
                    .content(
                        "application/problem+json",
                        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build(),
                    )
                    .build();
                operation.responses.responses.insert("default".to_owned(), failure.into());
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}
