package compose

import "strings"

// Pinned tells whether an image's name names a version: a tag that is not
// latest, or a digest.
func Pinned(image string) bool {
	if _, digest, ok := strings.Cut(image, "@"); ok {
		return strings.HasPrefix(digest, "sha256:")
	}
	name := image[strings.LastIndex(image, "/")+1:]
	_, tag, ok := strings.Cut(name, ":")
	return ok && tag != "" && tag != "latest" && !strings.Contains(tag, "$")
}

// CheckDockerfile returns what is wrong with a Dockerfile: a stage that starts
// from an image that is not pinned, or a last stage that runs as root.
func CheckDockerfile(content string) []string {
	var wrong []string
	stages := map[string]bool{"scratch": true}
	user := ""
	for line := range strings.Lines(content) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch strings.ToUpper(words[0]) {
		case "FROM":
			user = ""
			words = words[1:]
			for strings.HasPrefix(words[0], "--") && len(words) > 1 {
				words = words[1:]
			}
			if !stages[words[0]] && !Pinned(words[0]) {
				wrong = append(wrong, "the image "+words[0]+" is not pinned")
			}
			if len(words) == 3 && strings.EqualFold(words[1], "AS") {
				stages[words[2]] = true
			}
		case "USER":
			user, _, _ = strings.Cut(words[1], ":")
		}
	}
	if user == "" || user == "0" || user == "root" {
		wrong = append(wrong, "the last stage runs as root")
	}
	return wrong
}
