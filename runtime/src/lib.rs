//! Stackful routines.
