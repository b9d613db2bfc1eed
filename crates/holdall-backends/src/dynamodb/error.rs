//! Turns what DynamoDB says, and what happens on the way there, into errors of
//! Holdall.

use std::error::Error as StdError;
use std::io;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use holdall_core::{Error, ErrorKind, Retry};

/// Reads the error of a call.
pub(super) fn told<E, R>(error: &SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    sentence(error).in_backend("dynamodb")
}

fn sentence<E, R>(error: &SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            said(
                meta.code().unwrap_or_default(),
                meta.message().unwrap_or_default(),
            )
        }
        SdkError::TimeoutError(_) => Error::timeout(
            "DynamoDB did not answer in time; it may be throttled or out of reach, or allow it more by the option timeout",
        ),
        SdkError::DispatchFailure(failure) => {
            let Some(error) = failure.as_connector_error() else {
                return Error::unavailable("the call of DynamoDB failed on its way; try again");
            };
            if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref()) {
                return of_tls(tls);
            }
            let cause = causes(error).last().map(ToString::to_string);
            let cause = cause.unwrap_or_default();
            if cause.contains("no providers in chain") || cause.contains("credential") {
                return no_credentials();
            }
            Error::unavailable(format!(
                "cannot reach DynamoDB: {cause}. Are region and endpoint right, and is it running?"
            ))
        }
        SdkError::ConstructionFailure(_) => no_credentials(),
        _ => Error::unavailable(
            "the answer of DynamoDB cannot be read. Does something on the way change it?",
        ),
    }
}

fn no_credentials() -> Error {
    Error::denied(
        "the request cannot be made: region or keys are missing. Give the options region, access_key_id and secret_access_key",
    )
}

fn of_tls(error: &rustls::Error) -> Error {
    let why = match error {
        rustls::Error::InvalidCertificate(_) => {
            "its certificate is not to be trusted. If it comes from an authority of your own, name that by the option ca"
        }
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS. Should the endpoint start with http:?"
        }
        _ => "TLS failed",
    };
    Error::new(
        ErrorKind::Unavailable,
        Retry::No,
        format!("there is no safe connection to DynamoDB: {why}"),
    )
    .because(error.clone())
}

/// An error, and what lies below it.
pub(super) fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>() {
            // Its source leaves out what it holds.
            Some(io) => io.get_ref().map(|held| held as _),
            None => error.source(),
        }
    })
    .take(16)
}

fn said(code: &str, message: &str) -> Error {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "ThrottlingError"
        | "RequestLimitExceeded"
        | "ProvisionedThroughputExceeded" => Error::unavailable(
            "DynamoDB slows us down, as the table's capacity or the account's is used up; try again, or give it more",
        ),
        "ResourceNotFoundException" => Error::not_found(
            "there is no such table. Are name and region right? It is made with create_table=true",
        ),
        "AccessDeniedException" => Error::denied(format!(
            "DynamoDB does not allow these keys the call; docs/dynamodb.md lists what is needed ({message})"
        )),
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "IncompleteSignatureException" => Error::denied(
            "DynamoDB does not let in: the access keys are wrong, or of another region",
        ),
        "ExpiredTokenException" => {
            Error::denied("DynamoDB does not let in: the session token has expired; give a new one")
        }
        "LimitExceededException" => {
            Error::unavailable("DynamoDB makes no more tables right now; try again")
        }
        "ItemCollectionSizeLimitExceededException" | "ValidationException" | "ValidationError" => {
            Error::other(format!(
                "DynamoDB refused a call; this is a bug of Holdall ({message})"
            ))
        }
        "InternalServerError" | "ServiceUnavailable" | "TransactionInProgressException" => {
            Error::unavailable("DynamoDB cannot answer right now; try again")
        }
        _ => Error::other(format!("DynamoDB refused a call: {code} ({message})")),
    }
}

/// Stored data of a shape that Holdall does not make.
pub(super) fn damaged(what: &str) -> Error {
    Error::corrupt(format!(
        "{what} in DynamoDB cannot be read. Do other programs write to the store's partitions?"
    ))
    .in_backend("dynamodb")
}
