package main

// windowsCommand groups what looks at windows.
type windowsCommand struct {
	Try windowsTryCommand `cmd:"" help:"Feed events from a file to windows, and print what comes of them."`
}
