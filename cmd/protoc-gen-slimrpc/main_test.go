package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
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
	p, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{FileToGenerate: generated, Parameter: proto.String(parameter), ProtoFile: files.File})
	if err != nil {
		t.Fatal(err)
	}
	if err := generate(p); err != nil {
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
	texts := plug(t, "shapes.txtpb", "paths=source_relative", "acme/shapes.proto", "acme/messages.proto", "bare.proto")
	if len(texts) != 2 {
		t.Errorf("%d files, want one for each that has services", len(texts))
	}
	for _, name := range []string{"acme/shapes_slimrpc.pb.go", "bare_slimrpc.pb.go"} {
		golden := filepath.Join("testdata", filepath.Base(name)+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(texts[name]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts[name]; got != string(want) {
			t.Errorf("%s is not %s:\n%s", name, golden, got)
		}
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
