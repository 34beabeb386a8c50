{{/* The image of a Deployment: its own value, or NAME in image.registry. Called with the root, NAME and the value. */}}
{{- define "resultsfw.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- with index . 2 }}{{ . }}{{ else -}}
{{- $message := printf "image.registry is not set: build the images (images/), push them to a registry of yours, and name it; or set the image of %s" $name -}}
{{- printf "%s/%s:%s" (required $message $root.Values.image.registry | trimSuffix "/") $name $root.Chart.AppVersion -}}
{{- end -}}
{{- end -}}

{{/* Options of a command as arguments, one for each line. YAML has one kind of number: whole ones have no exponent. */}}
{{- define "resultsfw.options" -}}
{{- range $name, $value := . }}
{{- if kindIs "bool" $value }}
- {{ printf "--%s%s" (ternary "" "no-" $value) $name | quote }}
{{- else }}
- {{ printf "--%s" $name | quote }}
{{- if kindIs "float64" $value }}
- {{ ternary (int64 $value | toString) (toString $value) (eq $value (floor $value)) | quote }}
{{- else }}
- {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
