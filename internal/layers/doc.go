// Package layers is the project's import rules, as a test: the table is in
// rules_test.go. The test parses the files itself, so that it needs no build
// and sees files that a build tag leaves out.
package layers
