package main

import (
	"fmt"

	"google.golang.org/protobuf/compiler/protogen"
)

// names are those that packages have: of messages and the like, by protoc-gen-go, and of what is written here. Where two would be the same,
// services get underscores at the end of theirs, and methods, too, until they are not.
type names struct {
	taken map[protogen.GoIdent]bool
	of    map[*protogen.Service]string // what a service is called in all names that are made of it
}

// newNames finds names for the services of all files that the compiler hands over. Imported ones come first, so that a file gets the same
// names whenever it is compiled.
func newNames(p *protogen.Plugin) *names {
	n := &names{map[protogen.GoIdent]bool{}, map[*protogen.Service]string{}}
	for _, f := range p.Files {
		n.messages(f.Messages)
		n.enums(f.Enums)
		for _, x := range f.Extensions {
			n.taken[x.GoIdent] = true
			n.taken[f.GoImportPath.Ident("E_"+x.GoName)] = true
		}
	}
	for _, f := range p.Files {
		for _, s := range f.Services {
			n.service(f.GoImportPath, s)
		}
	}
	return n
}

func (n *names) messages(all []*protogen.Message) {
	for _, m := range all {
		n.taken[m.GoIdent] = true
		n.messages(m.Messages)
		n.enums(m.Enums)
		for _, o := range m.Fields {
			if o.Oneof != nil && !o.Oneof.Desc.IsSynthetic() { // the type that holds the choice
				n.taken[o.GoIdent] = true
			}
		}
	}
}

func (n *names) enums(all []*protogen.Enum) {
	for _, e := range all {
		n.taken[e.GoIdent] = true
		for _, v := range e.Values {
			n.taken[v.GoIdent] = true
		}
	}
}

// service finds names for one, and for its methods, which get theirs.
func (n *names) service(in protogen.GoImportPath, s *protogen.Service) {
	methods := map[string]bool{}
	for _, m := range s.Methods {
		for methods[m.GoName] {
			m.GoName += "_"
		}
		methods[m.GoName] = true
	}
	for name := s.GoName; ; name += "_" {
		if all := made(name, s); !n.any(in, all) {
			for _, one := range all {
				n.taken[in.Ident(one)] = true
			}
			n.of[s] = name
			return
		}
	}
}

func (n *names) any(in protogen.GoImportPath, all []string) bool {
	for _, one := range all {
		if n.taken[in.Ident(one)] {
			return true
		}
	}
	return false
}

// made are the names that are made of that of a service, in either style.
func made(name string, s *protogen.Service) []string {
	var all []string
	for _, format := range []string{
		"%sClient", "New%sClient", "%sGroupClient", "New%sGroupClient", "%sServer", "Unimplemented%sServer", "Register%sServer",
		"%sClientImpl", "%sGroupClientImpl",
	} {
		all = append(all, fmt.Sprintf(format, name))
	}
	all = append(all, lower(name+"Client"), lower(name+"GroupClient"))
	for _, m := range s.Methods {
		all = append(all, name+m.GoName+"Method")
	}
	return all
}
