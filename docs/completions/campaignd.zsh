#compdef campaignd

_campaignd_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _CAMPAIGND_COMPLETE=complete_zsh campaignd)
}

compdef _campaignd_completion campaignd
