//! `Debug` without secrets.

/// Implements `Debug` with the named fields only, so that no secret and no application data reaches
/// a log.
macro_rules! opaque_debug {
    ($([$($generics:tt)*])? $name:ident $(<$($args:ident),*>)? { $($field:ident),* }) => {
        impl $(<$($generics)*>)? core::fmt::Debug for $name $(<$($args),*>)? {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        }
    };
}
