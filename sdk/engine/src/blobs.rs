//! Which blobs a run names: what must not go while it is unfinished.

use crate::run::Run;
use eyot_model::{Digest, Template};

impl Run {
    /// Calls `each` with the digest of every blob that the run names (its inputs, its literals, what its tasks made so
    /// far) and of every component that it runs. The same digest may come several times.
    pub fn for_each_blob(&self, each: &mut dyn FnMut(Digest)) {
        self.inputs.for_each_blob(&mut |blob| each(blob.digest));
        let workflow = &self.graph.workflow;
        workflow.outputs.values().for_each(|template| literals(template, each));
        for task in &workflow.tasks {
            if let Some(digest) = task.uses.digest {
                each(digest);
            }
            task.with.values().for_each(|template| literals(template, each));
        }
        for entry in &self.tasks {
            let items = entry.items.iter().flat_map(|items| &items.instances);
            for outputs in std::iter::once(&entry.own)
                .chain(items)
                .filter_map(|instance| instance.outputs.as_ref())
            {
                outputs.for_each_blob(&mut |blob| each(blob.digest));
            }
        }
    }
}

fn literals(template: &Template, each: &mut dyn FnMut(Digest)) {
    match template {
        Template::Literal(value) => value.for_each_blob(&mut |blob| each(blob.digest)),
        Template::List(parts) => parts.iter().for_each(|part| literals(part, each)),
        Template::Map(parts) => parts.values().for_each(|part| literals(part, each)),
        Template::Expr(_) | Template::Text(_) => {}
    }
}
