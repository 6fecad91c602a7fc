pub(crate) struct Unplaced { pub(crate) why: String, pub(crate) unplaceable: Vec<eyot_model::api::Unplaceable> }
