//! The source of the workspace: its files, and the items in them by path.
//!
//! Modules are followed from the head of each crate, so an item has the path that the compiler gives it. Code that only
//! tests compile is left out, and so is what a macro makes.
//!
//! Spans are byte ranges of a file. The span of an item begins at its keyword: neither attributes nor doc comments
//! belong to it, so text in a doc comment is never found.

use crate::plant::PROGRAM;
use proc_macro2::Span;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// The crates, each with its head.
const CRATES: [(&str, &str); 5] = [
    ("engine", "engine/src/lib.rs"),
    ("launch", "engine/launch/src/lib.rs"),
    ("properties", "properties/src/lib.rs"),
    ("world", "sim/world/src/lib.rs"),
    ("sim", "sim/src/lib.rs"),
];

/// All source that can be edited.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The files, in the order in which they were found.
    pub files: Vec<SourceFile>,
    /// The items of all files.
    pub items: Vec<Item>,
    /// The text of the program, [`PROGRAM`].
    pub program: String,
}

/// One file.
#[derive(Debug)]
pub struct SourceFile {
    /// Path within the workspace.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A named item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Crate, modules, type, name.
    pub path: Vec<String>,
    /// The trait, if it belongs to an implementation of one.
    pub of_trait: Option<String>,
    /// Which file it lies in.
    pub file: usize,
    /// From its keyword to its last byte.
    pub span: Range<usize>,
    /// The inside of every block that can be built twice, itself first if it is a function.
    pub blocks: Vec<Range<usize>>,
    /// Its match arms.
    pub arms: Vec<Range<usize>>,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(of_trait) = &self.of_trait else { return f.write_str(&self.path.join("::")) };
        let (name, rest) = self.path.split_last().expect("an item has a name");
        let (of_type, modules) = rest.split_last().expect("it belongs to a type");
        write!(f, "{}::<{of_type} as {of_trait}>::{name}", modules.join("::"))
    }
}

impl Workspace {
    /// Reads every crate below `root`.
    pub fn read(root: &Path) -> Result<Self, String> {
        let mut workspace = Self::default();
        for (name, head) in CRATES {
            let folder = Path::new(head).parent().expect("a file lies in a folder").to_owned();
            workspace.read_file(root, head, &folder, vec![name.to_owned()])?;
        }
        workspace.program = std::fs::read_to_string(root.join(PROGRAM)).map_err(|e| format!("{PROGRAM}: {e}"))?;
        Ok(workspace)
    }

    /// Reads a file and the modules that it declares; those lie in `folder`.
    fn read_file(&mut self, root: &Path, path: &str, folder: &Path, module: Vec<String>) -> Result<(), String> {
        let text = std::fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))?;
        let parsed = syn::parse_file(&text).map_err(|e| format!("{path}: {e}"))?;
        let (file, folder) = (self.files.len(), folder.to_owned());
        let mut found = Found { file, text: &text, module, folder, items: Vec::new(), declared: Vec::new() };
        found.visit_file(&parsed);
        let Found { items, declared, .. } = found;
        self.items.extend(items);
        self.files.push(SourceFile { path: path.to_owned(), text });
        for (module, folder) in declared {
            let name = module.last().expect("a module has a name");
            let candidates = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
            let there = candidates.iter().find(|candidate| root.join(candidate).is_file());
            let there = there.ok_or_else(|| format!("{path}: there is no file for the module {name}"))?;
            self.read_file(root, &there.to_string_lossy(), &folder.join(name), module)?;
        }
        Ok(())
    }
}

/// What a file holds.
struct Found<'t> {
    file: usize,
    text: &'t str,
    /// The module or type that is being looked at.
    module: Vec<String>,
    /// Where the files of its modules lie.
    folder: PathBuf,
    items: Vec<Item>,
    /// Modules in files of their own, and the folders of those.
    declared: Vec<(Vec<String>, PathBuf)>,
}

impl<'t> Found<'t> {
    /// An item that is no function.
    fn add(&mut self, name: &syn::Ident, of_trait: Option<String>, span: Range<usize>) {
        self.add_with(name, of_trait, span, Body::new(self.text));
    }

    fn add_with(&mut self, name: &syn::Ident, of_trait: Option<String>, span: Range<usize>, body: Body<'t>) {
        let path = self.module.iter().cloned().chain([name.to_string()]).collect();
        let Body { blocks, arms, .. } = body;
        self.items.push(Item { path, of_trait, file: self.file, span, blocks, arms });
    }

    /// Everything in `inside` belongs to `name`.
    fn within(&mut self, name: String, inside: impl FnOnce(&mut Self)) {
        self.module.push(name);
        inside(self);
        self.module.pop();
    }

    fn add_function(&mut self, signature: &syn::Signature, of_trait: Option<String>, block: &syn::Block) {
        let mut body = Body { switchable: signature.constness.is_none(), ..Body::new(self.text) };
        // Two branches would be two types.
        body.skips_outermost = matches!(&signature.output, syn::ReturnType::Type(_, of) if names_no_type(of));
        body.visit_block(block);
        let span = start_of(signature).start..block.brace_token.span.close().byte_range().end;
        self.add_with(&signature.ident, of_trait, span, body);
        self.within(signature.ident.to_string(), |found| visit::visit_block(found, block));
    }
}

fn start_of(signature: &syn::Signature) -> Range<usize> {
    let first =
        signature.constness.as_ref().map(|token| token.span).or(signature.asyncness.as_ref().map(|token| token.span));
    first.unwrap_or(signature.fn_token.span).byte_range()
}

/// Whether a type holds an `impl Trait`.
fn names_no_type(of: &syn::Type) -> bool {
    struct Anonymous(bool);
    impl<'ast> Visit<'ast> for Anonymous {
        fn visit_type_impl_trait(&mut self, _: &'ast syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut anonymous = Anonymous(false);
    anonymous.visit_type(of);
    anonymous.0
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::NameValue(_) => false,
    })
}

fn last_segment(path: &syn::Path) -> String {
    path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default()
}

fn from_to(from: Span, to: Span) -> Range<usize> {
    from.byte_range().start..to.byte_range().end
}

impl<'ast> Visit<'ast> for Found<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        let name = item.ident.to_string();
        if item.content.is_none() {
            let module = self.module.iter().cloned().chain([name]).collect();
            return self.declared.push((module, self.folder.clone()));
        }
        let outside = self.folder.clone();
        self.folder.push(&name);
        self.within(name, |found| visit::visit_item_mod(found, item));
        self.folder = outside;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            self.add_function(&item.sig, None, &item.block);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of_type = match &*item.self_ty {
            syn::Type::Path(path) => last_segment(&path.path),
            syn::Type::Reference(reference) => match &*reference.elem {
                syn::Type::Path(path) => last_segment(&path.path),
                _ => return,
            },
            _ => return,
        };
        if is_for_tests(&item.attrs) {
            return;
        }
        let of_trait = item.trait_.as_ref().map(|(path, _)| last_segment(path));
        self.within(of_type, |found| {
            for member in &item.items {
                match member {
                    syn::ImplItem::Fn(of) if !is_for_tests(&of.attrs) => {
                        found.add_function(&of.sig, of_trait.clone(), &of.block);
                    }
                    syn::ImplItem::Const(of) => {
                        let span = from_to(of.const_token.span, of.semi_token.span);
                        found.add(&of.ident, of_trait.clone(), span);
                    }
                    _ => {}
                }
            }
        });
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let span = from_to(item.trait_token.span, item.brace_token.span.close());
        self.add(&item.ident, None, span);
        self.within(item.ident.to_string(), |found| {
            for member in &item.items {
                if let syn::TraitItem::Fn(syn::TraitItemFn { sig, default: Some(block), .. }) = member {
                    found.add_function(sig, None, block);
                }
            }
        });
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.add(&item.ident, None, from_to(item.const_token.span, item.semi_token.span));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.add(&item.ident, None, from_to(item.static_token.span, item.semi_token.span));
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.add(&item.ident, None, from_to(item.type_token.span, item.semi_token.span));
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        let span = from_to(item.enum_token.span, item.brace_token.span.close());
        self.add(&item.ident, None, span);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        let last = match (&item.fields, &item.semi_token) {
            (syn::Fields::Named(fields), _) => fields.brace_token.span.close(),
            (_, Some(semi)) => semi.span,
            (syn::Fields::Unnamed(_) | syn::Fields::Unit, None) => item.ident.span(),
        };
        self.add(&item.ident, None, from_to(item.struct_token.span, last));
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if let Some(name) = &item.ident {
            let delimiter = item.mac.delimiter.span();
            self.add(name, None, from_to(delimiter.open(), delimiter.close()));
        }
    }
}

/// The blocks and match arms of a function.
struct Body<'t> {
    text: &'t str,
    switchable: bool,
    /// Its outermost block cannot be built twice.
    skips_outermost: bool,
    blocks: Vec<Range<usize>>,
    arms: Vec<Range<usize>>,
}

impl<'t> Body<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, switchable: false, skips_outermost: false, blocks: Vec::new(), arms: Vec::new() }
    }

    /// Where the text goes on behind white space and comments.
    fn next(&self, mut at: usize) -> usize {
        loop {
            let rest = &self.text[at..];
            at += rest.len() - rest.trim_start().len();
            match self.text[at..].strip_prefix("//") {
                Some(comment) => at += 2 + comment.find('\n').unwrap_or(comment.len()),
                None => return at,
            }
        }
    }
}

impl<'ast> Visit<'ast> for Body<'_> {
    fn visit_block(&mut self, block: &'ast syn::Block) {
        let braces = block.brace_token.span;
        if self.switchable && !self.skips_outermost {
            self.blocks.push(braces.open().byte_range().end..braces.close().byte_range().start);
        }
        self.skips_outermost = false;
        visit::visit_block(self, block);
    }

    fn visit_expr_match(&mut self, of: &'ast syn::ExprMatch) {
        let braces = of.brace_token.span;
        let mut behind = braces.open().byte_range().end;
        for arm in &of.arms {
            let attribute = arm.attrs.last().map(|attribute| attribute.bracket_token.span.close().byte_range().end);
            let start = self.next(attribute.unwrap_or(behind));
            behind = match (&arm.comma, &*arm.body) {
                (Some(comma), _) => comma.span.byte_range().end,
                (None, syn::Expr::Block(body)) => body.block.brace_token.span.close().byte_range().end,
                (None, _) => self.text[..braces.close().byte_range().start].trim_end().len(),
            };
            self.arms.push(start..behind);
        }
        visit::visit_expr_match(self, of);
    }

    /// What is computed when the program is built asks nothing at run time.
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    /// An item inside a function is an item of its own.
    fn visit_item(&mut self, _: &'ast syn::Item) {}
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A workspace whose first crate has this head.
    pub(crate) fn workspace(head: &str) -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, path) in CRATES {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("created");
            std::fs::write(&path, if name == "engine" { head } else { "" }).expect("written");
        }
        let program = folder.path().join(PROGRAM);
        std::fs::create_dir_all(program.parent().expect("it has a folder")).expect("created");
        std::fs::write(program, "fn main() -> ExitCode {\n}").expect("written");
        let workspace = Workspace::read(folder.path()).expect("it parses");
        (folder, workspace)
    }

    #[test]
    fn modules_are_followed_into_their_files() {
        let (folder, _) = workspace("");
        let write = |name: &str, text: &str| {
            let path = folder.path().join("engine/src").join(name);
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("created");
            std::fs::write(path, text).expect("written");
        };
        write("lib.rs", "mod cores;");
        write(
            "cores.rs",
            "pub mod alignment;\nmod inline { mod deep; }\nfn outer() { fn nested() {} }\nmacro_rules! m { () => {} }",
        );
        write("cores/alignment.rs", "impl<T> Alignment<T> { fn on_barrier(&self) {} }");
        write("cores/inline/deep.rs", "static DEPTH: u32 = 1;");
        let workspace = Workspace::read(folder.path()).expect("it parses");
        let paths: Vec<String> = workspace.items.iter().map(Item::to_string).collect();
        let expected = ["cores::outer", "cores::outer::nested", "cores::m"].map(|path| format!("engine::{path}"));
        assert_eq!(paths[..3], expected);
        assert!(paths.contains(&"engine::cores::alignment::Alignment::on_barrier".to_owned()), "{paths:?}");
        assert!(paths.contains(&"engine::cores::inline::deep::DEPTH".to_owned()), "{paths:?}");
    }

    #[test]
    fn a_file_that_is_missing_or_does_not_parse_is_named() {
        let (folder, _) = workspace("");
        let head = folder.path().join("engine/src/lib.rs");
        for (text, expected) in [("mod gone;", "no file for the module gone"), ("fn {", "engine/src/lib.rs: ")] {
            std::fs::write(&head, text).expect("written");
            let error = Workspace::read(folder.path()).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }
}
