//! What a function returns.

use syn::{GenericArgument, PathArguments, ReturnType, Type};

use crate::errors::Errors;
use crate::pretty::pretty;
use crate::task_type::{bare, last_segment, obstacle};

/// What the function returns.
pub(crate) enum Returns {
    Nothing,
    Plain(Type),
    Result(Type),
}

impl Returns {
    pub(crate) fn read(output: &ReturnType, errors: &mut Errors) -> Self {
        let ReturnType::Type(_, ty) = output else {
            return Self::Nothing;
        };
        let ty = bare(ty).clone();
        if let Type::Never(never) = &ty {
            errors.at(
                never,
                "a task must come to an end; return `()` or a `Result`",
            );
        }
        if let Type::Reference(reference) = &ty {
            errors.at(
                reference,
                "what a task returns outlives it; return an owned type, such as `String` for \
                 `&str` or `Vec<T>` for `&[T]`",
            );
            return Self::Plain(ty);
        }
        let is_result = last_segment(&ty).is_some_and(|last| last.ident == "Result");
        let obstacle = if is_result {
            // The error may be any, such as `Box<dyn Error + Send + Sync>`.
            ok_type(&ty).and_then(obstacle)
        } else {
            obstacle(&ty)
        };
        if let Some(message) = obstacle {
            errors.at(&ty, message);
        }
        if is_result {
            Self::Result(ty)
        } else {
            Self::Plain(ty)
        }
    }

    /// ` -> Receipt`, or nothing for `()`.
    pub(crate) fn signature(&self) -> String {
        let value = match self {
            Self::Nothing => return String::new(),
            Self::Plain(ty) => ty,
            Self::Result(ty) => ok_type(ty).unwrap_or(ty),
        };
        match pretty(value).as_str() {
            "()" => String::new(),
            value => format!(" -> {value}"),
        }
    }
}

/// The `T` of a `Result<T, …>`, if it is written there.
fn ok_type(result: &Type) -> Option<&Type> {
    match &last_segment(result)?.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        },
        _ => None,
    }
}
