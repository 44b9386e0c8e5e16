// Protoc-gen-slimrpc is a plugin of protoc and buf: it writes clients and servers of package session/rpc for the services of .proto files,
// beside what protoc-gen-go writes for their messages.
//
//	protoc --go_out=. --go_opt=paths=source_relative --slimrpc_out=. --slimrpc_opt=paths=source_relative calculator.proto
//
// Of calculator.proto it makes calculator_slimrpc.pb.go. For a service Calculator that has CalculatorClient and NewCalculatorClient,
// CalculatorGroupClient and NewCalculatorGroupClient, CalculatorServer, UnimplementedCalculatorServer and RegisterCalculatorServer, and a
// rpc.Method for each method. Where one of these is the name of a message, too, or of another service, it gets an underscore after the name of
// the service, as does the second of two methods that differ in nothing but spelling.
//
// Options are those of protoc-gen-go: paths, module, and M for the import paths of files; and
//
//	compat=true        clients and servers by the names of upstream's generator, on package session/rpc/slimrpc, for users of slim-bindings-go
//	types_import=PATH  with compat: messages of the file itself are in the package of that import path, and what is written is not
//	types_alias=NAME   with compat: says nothing, since names of imports are chosen
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if len(os.Args) > 1 {
		if os.Args[1] == "--help" || os.Args[1] == "-h" {
			fmt.Println("protoc-gen-slimrpc is run by protoc --slimrpc_out=DIR FILE.proto, or by buf generate.")
			return
		}
		fmt.Fprintf(os.Stderr, "protoc-gen-slimrpc: unknown argument %q: it is run by protoc or buf\n", os.Args[1])
		os.Exit(2)
	}
	var o options
	protogen.Options{ParamFunc: o.set}.Run(func(p *protogen.Plugin) error { return generate(p, &o) })
}

// options are what is asked for after --slimrpc_opt, beside what protogen takes.
type options struct {
	compat      bool
	typesImport protogen.GoImportPath // empty: that of the file
}

// set takes one.
func (o *options) set(name, value string) (err error) {
	switch name {
	case "compat":
		if o.compat, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("compat=%s: it is true or false", value)
		}
	case "types_import":
		o.typesImport = protogen.GoImportPath(strings.Trim(value, `"'`))
	case "types_alias":
	default:
		return fmt.Errorf("unknown option %q: there are compat, types_import and types_alias, and those of protoc-gen-go: paths, module, M", name)
	}
	return nil
}

// importPath is that of what is written of a file. With messages elsewhere it is any other than theirs.
func (o *options) importPath(f *protogen.File) protogen.GoImportPath {
	if o.typesImport != "" {
		return o.typesImport + "/slimrpc"
	}
	return f.GoImportPath
}

// generate writes a file for each that has services.
func generate(p *protogen.Plugin, o *options) error {
	if o.typesImport != "" && !o.compat {
		return errors.New("types_import is for compat=true: import paths are those of go_package, or of the option M")
	}
	p.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL | pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS)
	p.SupportedEditionsMinimum = descriptorpb.Edition_EDITION_PROTO2
	p.SupportedEditionsMaximum = descriptorpb.Edition_EDITION_2024
	n := newNames(p)
	for _, f := range p.Files {
		if f.Generate && len(f.Services) > 0 {
			file(p, f, n, o)
		}
	}
	return nil
}
