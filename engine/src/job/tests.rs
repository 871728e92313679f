//! The builder: what it makes of good jobs, and what it says about bad ones.
