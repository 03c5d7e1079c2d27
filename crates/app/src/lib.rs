//! The use cases of Stet. Each takes an [`Actor`] and decides by it what may be done; the handlers of the server and the
//! commands of the shell only translate.
//!
//! No HTTP and no SQL text here.

mod access;
mod audit;
mod builds;
mod bundle;
mod clock;
mod config;
mod connections;
mod datasets;
mod deploy;
mod editlogs;
mod error;
mod flow;
mod groups;
mod guard;
mod http;
mod new_project;
mod node;
mod outgoing;
mod passkeys;
mod password;
mod people;
mod project_access;
mod projects;
mod protection;
mod provider;
mod scenarios;
mod sealing;
mod second_factor;
mod secrets;
mod sessions;
mod shipping;
mod tables;
mod users;
mod visitors;
pub mod webapp;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use stet_domain::{Actor, ProjectKey};
use stet_store::postgres::NodeIdentity;
use stet_store::{Editlogs, NodeDatabase};
use tokio::sync::{Mutex, broadcast};

pub use audit::{AUDIT_EVENTS_MAX, AuditEvent, AuditLine, AuditOutcome, AuditQuery, AuditVerification};
pub use builds::{
    BuildMode, BuildReport, Job, JobId, JobState, LogLine, Progress, ReportFile, ReportFiles, Step, StepState,
};
pub use bundle::{
    Bundle, BundleSide, BundleSummary, Envelope, NewApproval, NewBundle, PublicKey, SecretKey, approve_bundle,
    cannot_write, read_bundle, sign_bundle,
};
pub use clock::Clock;
pub use config::{
    AuditConfig, Connection, ForwardedHeader, LimitsConfig, LoginConfig, NODE_VERSION, Network, NodeConfig, NodeRole,
    ProviderConfig, PushTarget, S3Target, SealingConfig, SecondFactorPolicy, SecretsConfig, ServerConfig,
    WitnessTarget,
};
pub use connections::{ConnectionChange, ConnectionSummary, NewConnection};
pub use datasets::{DatasetDetail, DatasetSummary, ExportFormat, Preview, WebappEdits};
pub use deploy::{
    ApprovalRequest, DEPLOY_TOKEN_PREFIX, DeployConfig, DeployEvent, DeployPlan, DeployStatus, DeployToken,
    DeploymentSummary, Drift, Fate, GivenApproval, Health, HistoryEffect, HistoryPage, HistoryRow, Judgement,
    NewTarget, NodeAnswer, OnDrift, PLAN_EDITS_MAX, PlanConnection, PlanData, PlanObject, PlanWebapp, Push,
    PushOptions, PushReport, PushState, Target, TrustedKey, UPLOAD_BYTES_MAX, Verification,
};
pub use error::{AppError, Chain};
pub use flow::{Flow, FlowEdge, FlowNode, FlowNodeKind, FlowState};
pub use guard::EditlogStatus;
pub use new_project::{MadeProject, NewProject};
pub use node::{NodeFolder, copy_folder};
pub use passkeys::{NewPasskey, Passkey, PasskeyAnswer, PasskeyCreation, PasskeyKey, PasskeyRequest};
pub use password::new_secret;
pub use people::PersonChange;
pub use project_access::{ProjectAccess, WebappAccessState};
pub use projects::Projects;
pub use protection::{EditlogCheck, EditlogMode};
pub use provider::{PROVIDER_CALLBACK, PROVIDER_SIGN_IN_S, ProviderAnswer, ProviderSignIn};
pub use scenarios::{Run, RunState, RunSteps};
pub use sealing::{
    ERASED_EVENTS_MAX, EditlogVerification, Erased, ErasureRequest, Evidence, KeptAt, PUSH_INTERVAL_S, PushStatus,
    Pushed, SealState, Unreached, VERIFICATIONS_MAX, VerificationOutcome, VerificationStatus,
};
pub use second_factor::{CODE_ATTEMPTS_MAX, Enrolment, SecondFactorAsked, SecondFactorState};
pub use sessions::{OpenSession, SESSION_ATTEMPTS_MAX, SignIn, SignedIn};
pub use shipping::{SHIPPING_BEHIND_S_MAX, ShippingStatus};
pub use stet_store::node::{ApiToken, Group, NamedSecret, ScenarioLogLine, User};
pub use users::{NewToken, NewUser};
pub use visitors::{VISITOR_EDITS_MAX, VISITOR_REQUESTS_MAX};

/// The most messages about a project that a slow listener may be behind before it has to look anew.
const PROJECT_EVENTS_MAX: usize = 1024;

/// How long the end of a node waits for its last events to be sealed.
const SETTLE_AT_MOST: std::time::Duration = std::time::Duration::from_secs(3);

/// A running Stet: what all use cases work on. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    folder: NodeFolder,
    config: NodeConfig,
    clock: Clock,
    node: NodeDatabase,
    sealing_key: Arc<stet_editlog::SignerKey>,
    credentials: sessions::Credentials,
    /// Which node this is; chosen when its database was made.
    node_id: uuid::Uuid,
    visitors: visitors::Visitors,
    projects: Projects,
    /// Held by whoever changes files of a project.
    project_files: tokio::sync::Mutex<()>,
    editlogs: Mutex<HashMap<editlogs::PlaceKey, Editlogs>>,
    connections: connections::Connections,
    provider: provider::Provider,
    keys: Arc<secrets::Keys>,
    webapps: webapp::OpenWebapps,
    waits: webapp::Waits,
    builds: builds::Builds,
    drifts: deploy::Drifts,
    bundle_pushes: deploy::Pushes,
    challenges: passkeys::Challenges,
    attempts: sessions::Attempts,
    guards: guard::Guards,
    pushes: sealing::Pushes,
    shipments: shipping::Shipments,
    verifications: sealing::Verifications,
    runs: scenarios::Runs,
    project_events: std::sync::Mutex<HashMap<ProjectKey, broadcast::Sender<ProjectEvent>>>,
}

/// What those who look at a project are told as it happens.
#[derive(Debug, Clone)]
pub enum ProjectEvent {
    /// A build started, moved on or ended.
    Job(Box<Job>),
    /// A build wrote a line to its log.
    Log {
        /// The build.
        job: JobId,
        /// The dataset that was asked for.
        dataset: stet_domain::DatasetName,
        /// The line.
        line: LogLine,
    },
    /// Something in the flow changed: look at it again.
    Flow,
}

impl App {
    /// Opens a node's folder.
    ///
    /// # Errors
    /// When the folder is no node, its configuration is wrong, or its database cannot be opened.
    pub async fn open(folder: &Path, clock: Clock) -> Result<App, AppError> {
        let folder = NodeFolder::new(folder)?;
        let config = NodeConfig::read(folder.root())?;
        let sealing_key = Arc::new(sealing::sealing_key(&folder.sealing_key(), &config.name)?);
        let node = NodeDatabase::open(&folder.node_database(), clock.now())?.sealed(sealing_key.clone());
        let keys = secrets::Keys::find(
            config.secrets.key_file.as_ref().map(|path| folder.resolve(path)),
            folder.secrets_key(),
        );
        let node_id = node.meta().await?.id;
        let identity = NodeIdentity { id: node_id, name: config.name.clone() };
        let app = App {
            inner: Arc::new(Inner {
                projects: Projects::new(folder.clone()),
                project_files: tokio::sync::Mutex::default(),
                builds: builds::Builds::new(),
                drifts: deploy::Drifts::default(),
                bundle_pushes: deploy::Pushes::default(),
                challenges: passkeys::Challenges::default(),
                attempts: sessions::Attempts::default(),
                guards: guard::Guards::default(),
                pushes: sealing::Pushes::default(),
                shipments: shipping::Shipments::default(),
                verifications: sealing::Verifications::default(),
                runs: scenarios::Runs::default(),
                webapps: webapp::OpenWebapps::default(),
                waits: webapp::Waits::default(),
                credentials: sessions::Credentials::default(),
                visitors: visitors::Visitors::default(),
                editlogs: Mutex::default(),
                connections: connections::Connections::of_file(
                    &config.connections,
                    &config.connection_groups,
                    identity,
                ),
                provider: provider::Provider::default(),
                keys: Arc::new(keys),
                project_events: std::sync::Mutex::default(),
                folder,
                config,
                clock,
                node,
                node_id,
                sealing_key,
            }),
        };
        app.refresh_connections().await?;
        app.recover_deployments().await?;
        Ok(app)
    }

    /// The node's configuration.
    pub fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    /// The node's folder.
    pub fn folder(&self) -> &NodeFolder {
        &self.inner.folder
    }

    /// Which node this is: written into its editlogs and its bundles.
    pub fn node_id(&self) -> uuid::Uuid {
        self.inner.node_id
    }

    /// The clock that the use cases go by.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// A project as its files stand now.
    ///
    /// # Errors
    /// When there is none of this name that the actor may know of, or its files are wrong.
    pub fn project(&self, actor: &Actor, key: &str) -> Result<Arc<stet_domain::project::Project>, AppError> {
        self.known_project(actor, key)
    }

    /// The projects that the actor may know of, each with what is wrong with its files, if something is.
    pub fn projects(&self, actor: &Actor) -> Vec<(ProjectKey, Result<Arc<stet_domain::project::Project>, AppError>)> {
        let keys = self.inner.projects.keys().into_iter();
        let found = keys.map(|key| (key.clone(), self.known_project(actor, key.as_str())));
        found
            .filter(|(_, project)| !matches!(project, Err(AppError::NotFound { .. } | AppError::NotSignedIn)))
            .collect()
    }

    /// What happens in a project from now on.
    ///
    /// # Errors
    /// When there is no such project that the actor may know of.
    pub fn watch_project(&self, actor: &Actor, key: &str) -> Result<broadcast::Receiver<ProjectEvent>, AppError> {
        let project = self.known_project(actor, key)?;
        Ok(self.project_sender(&project.key).subscribe())
    }

    /// A number that changes with every commit to the node's database, of this and of any other process: whoever was let in
    /// may be shut out since. None while it cannot be told.
    pub fn version(&self) -> Option<i64> {
        self.inner.node.version().ok()
    }

    /// Whether an actor may hear of an event of a project now.
    pub fn may_hear(&self, actor: &Actor, key: &str, event: &ProjectEvent) -> bool {
        let Ok(project) = self.known_project(actor, key) else { return false };
        match event {
            ProjectEvent::Flow => true,
            ProjectEvent::Job(job) => self.may_know_build(actor, &project, &job.dataset),
            ProjectEvent::Log { dataset, .. } => self.may_know_build(actor, &project, dataset),
        }
    }

    fn project_sender(&self, key: &ProjectKey) -> broadcast::Sender<ProjectEvent> {
        let mut senders = self.inner.project_events.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        senders.entry(key.clone()).or_insert_with(|| broadcast::channel(PROJECT_EVENTS_MAX).0).clone()
    }

    fn announce(&self, key: &ProjectKey, event: ProjectEvent) {
        // Nobody listening is no failure.
        let _ = self.project_sender(key).send(event);
    }

    /// Ends the work of this node: listeners are told, builds stop and are noted as stopped. Edits that are being
    /// appended are finished by the store itself.
    pub async fn shutdown(&self) {
        self.inner.webapps.close();
        self.stop_builds().await;
        let open: Vec<Editlogs> = self.inner.editlogs.lock().await.values().cloned().collect();
        for editlogs in open {
            editlogs.settle(SETTLE_AT_MOST).await;
        }
    }
}
