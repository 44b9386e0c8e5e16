package main

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"google.golang.org/protobuf/types/pluginpb"
)

var update = flag.Bool("update", false, "write golden files anew")

// plug runs the plugin over the files of a set, as text, and returns what it writes, by name.
func plug(t *testing.T, set, parameter string, generated ...string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", set))
	if err != nil {
		t.Fatal(err)
	}
	var files descriptorpb.FileDescriptorSet
	if err := prototext.Unmarshal(b, &files); err != nil {
		t.Fatal(err)
	}
	files.File = append([]*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(wrapperspb.File_google_protobuf_wrappers_proto)}, files.File...)
	var o options
	p, err := protogen.Options{ParamFunc: o.set}.New(&pluginpb.CodeGeneratorRequest{FileToGenerate: generated, Parameter: proto.String(parameter), ProtoFile: files.File})
	if err != nil {
		t.Fatal(err)
	}
	if err := generate(p, &o); err != nil {
		t.Fatal(err)
	}
	r := p.Response()
	if r.GetError() != "" {
		t.Fatal(r.GetError())
	}
	texts := map[string]string{}
	for _, f := range r.GetFile() {
		texts[f.GetName()] = f.GetContent()
	}
	return texts
}

func TestGolden(t *testing.T) {
	for _, c := range []struct{ set, parameter, file, golden string }{
		{"shapes.txtpb", "", "acme/shapes.proto", "testdata/shapes_slimrpc.pb.go.golden"},
		{"shapes.txtpb", "", "bare.proto", "testdata/bare_slimrpc.pb.go.golden"},
		{"shapes.txtpb", "compat=true", "acme/shapes.proto", "testdata/compat_slimrpc.pb.go.golden"},
		{"shapes.txtpb", "compat=true,types_import=\"example.org/types\",types_alias=pb", "acme/shapes.proto", "testdata/types_slimrpc.pb.go.golden"},
		{"odd.txtpb", "", "odd.proto", "testdata/odd_slimrpc.pb.go.golden"},
		{"words.txtpb", "compat=true", "words.proto", "../../session/rpc/slimrpc/words_slimrpc.pb_test.go"},
	} {
		texts := plug(t, c.set, c.parameter+",paths=source_relative", c.file)
		name := strings.TrimSuffix(c.file, ".proto") + "_slimrpc.pb.go"
		if len(texts) != 1 || texts[name] == "" {
			t.Errorf("%s: files %v, want %s", c.file, slices.Collect(maps.Keys(texts)), name)
		}
		if *update {
			if err := os.WriteFile(c.golden, []byte(texts[name]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(c.golden)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts[name]; got != string(want) {
			t.Errorf("%s %s is not %s:\n%s", c.file, c.parameter, c.golden, got)
		}
		documented(t, c.golden)
	}
}

// documented wants that all that is exported says what it is, as go doc shows it: by its name first.
func documented(t *testing.T, file string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			receiver := ""
			if d.Recv != nil {
				receiver = types.ExprString(d.Recv.List[0].Type)
			}
			if d.Name.IsExported() && (receiver == "" || ast.IsExported(strings.TrimPrefix(receiver, "*"))) && !strings.HasPrefix(d.Doc.Text(), d.Name.Name+" ") {
				t.Errorf("%s: %s %s has no comment that begins with its name", file, receiver, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, x := range d.Specs {
				if x, ok := x.(*ast.TypeSpec); ok && x.Name.IsExported() && !strings.HasPrefix(d.Doc.Text(), x.Name.Name+" ") {
					t.Errorf("%s: %s has no comment that begins with its name", file, x.Name.Name)
				}
			}
			if d.Tok == token.VAR && d.Lparen.IsValid() && d.Doc.Text() == "" {
				t.Errorf("%s: variables without a comment", file)
			}
		}
	}
}

// A file without services makes none, and options that there are not are errors.
func TestFilesAndOptions(t *testing.T) {
	if texts := plug(t, "shapes.txtpb", "paths=source_relative", "acme/messages.proto"); len(texts) != 0 {
		t.Errorf("a file without services makes %v", texts)
	}
	for _, option := range [][2]string{{"compat", "perhaps"}, {"colour", "blue"}} {
		if err := new(options).set(option[0], option[1]); err == nil || !strings.Contains(err.Error(), option[0]) {
			t.Errorf("%v: %v", option, err)
		}
	}
	if err := generate(nil, &options{typesImport: "example.org/types"}); err == nil {
		t.Error("types_import without compat is no error")
	}
}

// What is on the wire is what stands in the .proto file: the name of a method verbatim, and of a file without a package no dot (P-rpc-4).
func TestNamesOnTheWire(t *testing.T) {
	texts := plug(t, "shapes.txtpb", "paths=source_relative", "acme/shapes.proto", "bare.proto")
	for file, want := range map[string]string{
		"acme/shapes_slimrpc.pb.go": `rpc.Method{Service: "acme.Shapes", Name: "lower_case", ClientStreams: true, ServerStreams: true}`,
		"bare_slimrpc.pb.go":        `rpc.Method{Service: "Bare", Name: "Do"}`,
	} {
		if !strings.Contains(texts[file], want) {
			t.Errorf("%s lacks %s", file, want)
		}
	}
}
