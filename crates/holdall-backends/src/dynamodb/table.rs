//! The table, and calls on it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, CancellationReason, KeySchemaElement,
    KeyType, KeysAndAttributes, Put, ScalarAttributeType, TableDescription, TableStatus,
    TransactWriteItem, WriteRequest,
};
use aws_smithy_http_client::{Builder, tls};
use holdall_core::{Env, Error, Result, Version};
use tokio::time::Instant;

use super::error::{damaged, told};
use super::options::DynamoDbOptions;
use super::row::{Place, Row};
use super::sent::Sent;
use crate::tls::authorities;

/// The most rows of one call that reads several.
const MAX_GET: usize = 100;

/// The most rows of one call that removes several.
const MAX_WRITE: usize = 25;

/// How often the library tries a call again, with pauses, that was throttled or whose
/// answer was lost. Each carries a token, or may be made twice.
const ATTEMPTS: u32 = 8;

/// The most of the first pause; each is twice as long at most as the one before.
const BACKOFF: Duration = Duration::from_millis(50);

pub(super) struct Table {
    client: Client,
    name: String,
    timeout: Duration,
    env: Env,
}

/// What became of a transaction.
pub(super) enum Transacted {
    Done,
    /// Nothing happened. A reason for each action, in their order.
    Cancelled(Vec<CancellationReason>),
}

/// Which rows of a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    /// An operator, and the sort key that it compares with.
    pub(super) bound: Option<(&'static str, String)>,
    pub(super) reverse: bool,
    pub(super) limit: i32,
    /// The attributes to return; all if there are none.
    pub(super) columns: &'static [&'static str],
}

impl Table {
    /// Reads files that options name.
    pub(super) fn new(options: &DynamoDbOptions) -> Result<Self> {
        let trust = tls::TrustStore::empty();
        let trust = match &options.ca {
            None => trust.with_native_roots(true),
            // It panics at what is no certificate.
            Some(path) => trust.with_pem_certificate(authorities(path)?),
        };
        let context = tls::TlsContext::builder().with_trust_store(trust).build();
        let context =
            context.map_err(|error| Error::invalid("TLS cannot be set up").because(error))?;
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(
                tls::rustls_provider::CryptoMode::Ring,
            ))
            .tls_context(context)
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(options.connect_timeout)
            .operation_timeout(options.timeout)
            .build();
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(BACKOFF),
            )
            .timeout_config(timeouts);
        let region = options.region.clone();
        // A server of one's own asks for none, and signatures name one.
        let region = region.or_else(|| options.endpoint.as_ref().map(|_| "us-east-1".to_owned()));
        config = config.region(region.map(Region::new));
        if let Some(endpoint) = &options.endpoint {
            config = config.endpoint_url(endpoint);
        }
        match (&options.access_key_id, &options.secret_access_key) {
            (Some(id), Some(secret)) => {
                let token = options.session_token.clone();
                let keys = Credentials::new(id, secret, token, None, "holdall");
                config = config.credentials_provider(keys);
            }
            (None, None) => {
                return Err(Error::invalid(
                    "there are no keys: give the options access_key_id and secret_access_key, or hand a client in",
                ));
            }
            _ => {
                return Err(Error::invalid(
                    "the options access_key_id and secret_access_key belong together; give both",
                ));
            }
        }
        Ok(Self::of_client(Client::from_conf(config.build()), options))
    }

    pub(super) fn of_client(client: Client, options: &DynamoDbOptions) -> Self {
        Self {
            client,
            name: options.table.clone(),
            timeout: options.timeout,
            env: options.env.clone(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// When a call that starts now must be done.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Waits before something is tried again, longer each time, and by chance so that
    /// those who met do not meet again.
    pub(super) async fn pause(&self, attempt: u32) {
        let most = 5_u64.saturating_mul(1 << attempt.min(7));
        tokio::time::sleep(Duration::from_millis(1 + self.env.below(most))).await;
    }

    /// Looks at the table, and makes it if that is wanted.
    pub(super) async fn prepare(&self, create: bool) -> Result<()> {
        let deadline = self.deadline() + Duration::from_secs(60);
        let mut made = false;
        loop {
            let described = self
                .client
                .describe_table()
                .table_name(&self.name)
                .send()
                .await;
            match described {
                Ok(described) => {
                    let table = described.table().ok_or_else(|| damaged("the table"))?;
                    check_shape(table)?;
                    match table.table_status() {
                        Some(TableStatus::Active | TableStatus::Updating) | None => return Ok(()),
                        _ => {}
                    }
                }
                Err(error) => {
                    let missing = error
                        .as_service_error()
                        .is_some_and(|error| error.is_resource_not_found_exception());
                    if !missing || !create {
                        return Err(told(&error));
                    }
                    if !made {
                        self.create().await?;
                        made = true;
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(Error::timeout("the table is not ready yet; try again"));
            }
            self.pause(7).await;
        }
    }

    async fn create(&self) -> Result<()> {
        let mut create = self
            .client
            .create_table()
            .table_name(&self.name)
            .billing_mode(BillingMode::PayPerRequest);
        for (name, kind) in [("p", KeyType::Hash), ("s", KeyType::Range)] {
            let built = AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S)
                .build();
            let schema = KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build();
            create = create
                .attribute_definitions(built.map_err(incomplete)?)
                .key_schema(schema.map_err(incomplete)?);
        }
        match create.send().await {
            Ok(_) => Ok(()),
            // Another process makes it.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_in_use_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(told(&error)),
        }
    }

    /// Reads a row.
    pub(super) async fn get(&self, place: &Place) -> Result<Option<Row>> {
        let read = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(place.key()))
            .consistent_read(true);
        let answer = read.send().await.map_err(|error| told(&error))?;
        Ok(answer.item.map(Row::of))
    }

    /// Reads rows; those that are not there are left out.
    pub(super) async fn get_many(
        &self,
        places: impl IntoIterator<Item = Place>,
        columns: &[&str],
    ) -> Result<HashMap<Place, Row>> {
        let mut left: Vec<_> = places.into_iter().map(|place| place.key()).collect();
        let (names, projection) = project(columns);
        let mut rows = HashMap::new();
        let deadline = self.deadline();
        let mut attempt = 0;
        while !left.is_empty() {
            let now: Vec<_> = left.drain(..left.len().min(MAX_GET)).collect();
            let asked = now.len();
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(now))
                .consistent_read(true)
                .set_projection_expression(projection.clone())
                .set_expression_attribute_names(names.clone())
                .build()
                .map_err(incomplete)?;
            let read = self
                .client
                .batch_get_item()
                .request_items(&self.name, wanted);
            let answer = read.send().await.map_err(|error| told(&error))?;
            let found = answer.responses.unwrap_or_default();
            for row in found.into_values().flatten().map(Row::of) {
                rows.insert(row.place()?, row);
            }
            // A page is full, or capacity used up.
            let rest = answer.unprocessed_keys.unwrap_or_default();
            let rest: Vec<_> = rest.into_values().flat_map(|rest| rest.keys).collect();
            if rest.len() == asked {
                if Instant::now() >= deadline {
                    return Err(slowed());
                }
                self.pause(attempt).await;
                attempt += 1;
            }
            left.extend(rest);
        }
        Ok(rows)
    }

    /// Reads rows of a partition, in order. Answers whether there are more behind.
    pub(super) async fn query(&self, partition: &str, range: &Range) -> Result<(Vec<Row>, bool)> {
        let (names, projection) = project(range.columns);
        let mut names = names.unwrap_or_default();
        names.insert("#p".to_owned(), "p".to_owned());
        let mut condition = "#p = :p".to_owned();
        let mut query = self
            .client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .scan_index_forward(!range.reverse)
            .limit(range.limit)
            .set_projection_expression(projection)
            .expression_attribute_values(":p", AttributeValue::S(partition.to_owned()));
        if let Some((operator, sort)) = &range.bound {
            names.insert("#s".to_owned(), "s".to_owned());
            condition.push_str(&format!(" AND #s {operator} :s"));
            query = query.expression_attribute_values(":s", AttributeValue::S(sort.clone()));
        }
        query = query
            .key_condition_expression(condition)
            .set_expression_attribute_names(Some(names));
        let answer = query.send().await.map_err(|error| told(&error))?;
        let more = answer.last_evaluated_key.is_some_and(|key| !key.is_empty());
        let rows = answer.items.unwrap_or_default();
        Ok((rows.into_iter().map(Row::of).collect(), more))
    }

    /// Puts a row that nobody else writes.
    pub(super) async fn put(&self, row: Row) -> Result<()> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(row.into_values()));
        put.send().await.map(drop).map_err(|error| told(&error))
    }

    /// Puts a row if there is none. Answers whether there was none.
    pub(super) async fn create_row(&self, row: Row) -> Result<bool> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(row.into_values()))
            .condition_expression("attribute_not_exists(p)");
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(told(&error)),
        }
    }

    /// Puts a row in the place of one whose attribute is a number above this. Answers
    /// whether it did.
    pub(super) async fn put_if_above(&self, row: Row, name: &str, least: i64) -> Result<bool> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(row.into_values()))
            .condition_expression("#n > :n")
            .expression_attribute_names("#n", name)
            .expression_attribute_values(":n", AttributeValue::N(least.to_string()));
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(told(&error)),
        }
    }

    /// Removes a row if an attribute is a number up to this. Answers whether it did.
    pub(super) async fn remove_if_below(
        &self,
        place: &Place,
        name: &str,
        most: i64,
    ) -> Result<bool> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(place.key()))
            .condition_expression("#n <= :n")
            .expression_attribute_names("#n", name)
            .expression_attribute_values(":n", AttributeValue::N(most.to_string()));
        match delete.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(told(&error)),
        }
    }

    /// Removes rows.
    pub(super) async fn remove(&self, places: impl IntoIterator<Item = Place>) -> Result<()> {
        let mut all = Vec::new();
        for place in places {
            let delete = aws_sdk_dynamodb::types::DeleteRequest::builder()
                .set_key(Some(place.key()))
                .build()
                .map_err(incomplete)?;
            all.push(WriteRequest::builder().delete_request(delete).build());
        }
        self.write_all(all).await
    }

    /// Puts rows at different places that nobody else writes.
    pub(super) async fn put_all(&self, rows: impl IntoIterator<Item = Row>) -> Result<()> {
        let mut all = Vec::new();
        for row in rows {
            let put = aws_sdk_dynamodb::types::PutRequest::builder()
                .set_item(Some(row.into_values()))
                .build()
                .map_err(incomplete)?;
            all.push(WriteRequest::builder().put_request(put).build());
        }
        self.write_all(all).await
    }

    async fn write_all(&self, mut left: Vec<WriteRequest>) -> Result<()> {
        let deadline = self.deadline();
        let mut attempt = 0;
        while !left.is_empty() {
            let now: Vec<_> = left.drain(..left.len().min(MAX_WRITE)).collect();
            let asked = now.len();
            let write = self
                .client
                .batch_write_item()
                .request_items(&self.name, now);
            let answer = write.send().await.map_err(|error| told(&error))?;
            let rest = answer.unprocessed_items.unwrap_or_default();
            let rest: Vec<_> = rest.into_values().flatten().collect();
            if rest.len() == asked {
                if Instant::now() >= deadline {
                    return Err(slowed());
                }
                self.pause(attempt).await;
                attempt += 1;
            }
            left.extend(rest);
        }
        Ok(())
    }

    /// Does all or nothing. The token makes it once, though the library send it again.
    pub(super) async fn transact(
        &self,
        actions: Vec<TransactWriteItem>,
        token: Version,
        sent: &Sent,
    ) -> Result<Transacted> {
        let call = self
            .client
            .transact_write_items()
            .set_transact_items(Some(actions))
            .client_request_token(token.to_string())
            .customize()
            .interceptor(sent.clone());
        match call.send().await {
            Ok(_) => Ok(Transacted::Done),
            Err(error) => match cancelled(&error) {
                Some(reasons) => Ok(Transacted::Cancelled(reasons)),
                None => Err(told(&error)),
            },
        }
    }

    /// Puts a row, in a transaction.
    pub(super) fn putting(&self, row: Row) -> Result<TransactWriteItem> {
        self.put_action(row, None)
    }

    /// Puts a row that is not there, in a transaction.
    pub(super) fn creating(&self, row: Row) -> Result<TransactWriteItem> {
        self.put_action(row, Some("attribute_not_exists(p)".to_owned()))
    }

    fn put_action(&self, row: Row, condition: Option<String>) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(row.into_values()))
            .set_condition_expression(condition)
            .return_values_on_condition_check_failure(
                aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld,
            )
            .build()
            .map_err(incomplete)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Removes a row, in a transaction.
    pub(super) fn removing(&self, place: &Place) -> Result<TransactWriteItem> {
        let delete = aws_sdk_dynamodb::types::Delete::builder()
            .table_name(&self.name)
            .set_key(Some(place.key()))
            .build()
            .map_err(incomplete)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// Removes a row that is there, in a transaction.
    pub(super) fn removing_there(&self, place: &Place) -> Result<TransactWriteItem> {
        let delete = aws_sdk_dynamodb::types::Delete::builder()
            .table_name(&self.name)
            .set_key(Some(place.key()))
            .condition_expression("attribute_exists(p)")
            .build()
            .map_err(incomplete)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

fn cancelled<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Vec<CancellationReason>> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            Some(cancelled.cancellation_reasons().to_vec())
        }
        _ => None,
    }
}

/// Names for a projection, as those of attributes may be reserved words.
fn project(columns: &[&str]) -> (Option<HashMap<String, String>>, Option<String>) {
    if columns.is_empty() {
        return (None, None);
    }
    let all = ["p", "s"].iter().chain(columns);
    let names: HashMap<_, _> = all
        .map(|name| (format!("#{name}"), (*name).to_owned()))
        .collect();
    let list: Vec<_> = names.keys().cloned().collect();
    (Some(names), Some(list.join(", ")))
}

/// The library asks for what a call must have.
fn incomplete(error: aws_sdk_dynamodb::error::BuildError) -> Error {
    Error::other("a call of DynamoDB was not complete; this is a bug of Holdall").because(error)
}

fn slowed() -> Error {
    Error::unavailable(
        "DynamoDB slows us down, as the table's capacity or the account's is used up; try again, or give it more",
    )
    .in_backend("dynamodb")
}

fn check_shape(table: &TableDescription) -> Result<()> {
    let mut keys: Vec<_> = table
        .key_schema()
        .iter()
        .map(|key| (key.attribute_name(), key.key_type().clone()))
        .collect();
    keys.sort_by(|one, other| one.0.cmp(other.0));
    let texts = table
        .attribute_definitions()
        .iter()
        .filter(|of| matches!(of.attribute_name(), "p" | "s"))
        .all(|of| *of.attribute_type() == ScalarAttributeType::S);
    if texts && keys == [("p", KeyType::Hash), ("s", KeyType::Range)] {
        return Ok(());
    }
    Err(Error::invalid(
        "the table has other keys than Holdall needs: a partition key p and a sort key s, both strings. Name another table",
    )
    .in_backend("dynamodb"))
}
