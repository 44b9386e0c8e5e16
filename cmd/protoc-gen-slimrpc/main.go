// Protoc-gen-slimrpc is a plugin of protoc and buf: it writes clients and servers of package session/rpc for the services of .proto files,
// beside what protoc-gen-go writes for their messages.
//
//	protoc --go_out=. --go_opt=paths=source_relative --slimrpc_out=. --slimrpc_opt=paths=source_relative calculator.proto
//
// Of calculator.proto it makes calculator_slimrpc.pb.go. For a service Calculator that has CalculatorClient and NewCalculatorClient,
// CalculatorGroupClient and NewCalculatorGroupClient, CalculatorServer, UnimplementedCalculatorServer and RegisterCalculatorServer, and a
// rpc.Method for each method. Options are those of protoc-gen-go: paths, module, and M for the import paths of files.
package main

import (
	"flag"
	"fmt"
	"os"

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
	var flags flag.FlagSet
	protogen.Options{ParamFunc: flags.Set}.Run(generate)
}

// generate writes a file for each that has services.
func generate(p *protogen.Plugin) error {
	p.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL | pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS)
	p.SupportedEditionsMinimum = descriptorpb.Edition_EDITION_PROTO2
	p.SupportedEditionsMaximum = descriptorpb.Edition_EDITION_2023
	for _, f := range p.Files {
		if f.Generate && len(f.Services) > 0 {
			file(p, f)
		}
	}
	return nil
}
