/* completion: the shells' scripts, and what they ask for. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/complete.h"

static const char bash_script[] =
	"# Completion of roost for bash: source it, or put it into bash-completion's folder.\n"
	"_roost() {\n"
	"	local line file\n"
	"	COMPREPLY=()\n"
	"	while IFS= read -r line; do\n"
	"		if [[ $line == :files ]]; then\n"
	"			compopt -o filenames 2>/dev/null\n"
	"			while IFS= read -r file; do\n"
	"				COMPREPLY+=(\"$file\")\n"
	"			done < <(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
	"		else\n"
	"			COMPREPLY+=(\"${line%%$'\\t'*}\")\n"
	"		fi\n"
	"	done < <(\"${COMP_WORDS[0]}\" completion words -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"	# NAME: goes on with a path\n"
	"	[[ ${COMPREPLY[0]-} != *: ]] || compopt -o nospace 2>/dev/null\n"
	"}\n"
	"complete -F _roost roost\n";

static const char zsh_script[] =
	"#compdef roost\n"
	"# Completion of roost for zsh: source it after compinit, or put it as _roost into a folder of fpath.\n"
	"_roost() {\n"
	"	local line files\n"
	"	local -a found open\n"
	"	for line in \"${(@f)$(\"$words[1]\" completion words -- \"${(@)words[2,CURRENT-1]}\" \"$PREFIX\" "
	"2>/dev/null)}\"; do\n"
	"		case $line in\n"
	"		'') ;;\n"
	"		:files) files=1 ;;\n"
	"		*:$'\\t'*) open+=(\"${line%%$'\\t'*}\") ;;\n"
	"		*$'\\t'*) found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
	"		*) found+=(\"${line//:/\\\\:}\") ;;\n"
	"		esac\n"
	"	done\n"
	"	(( ! $#found )) || _describe -t roost 'roost' found\n"
	"	(( ! $#open )) || compadd -S '' -- $open\n"
	"	[[ -z $files ]] || _files\n"
	"}\n"
	"if [[ $funcstack[1] == _roost ]]; then\n"
	"	_roost \"$@\"\n"
	"else\n"
	"	compdef _roost roost\n"
	"fi\n";

static const char fish_script[] =
	"# Completion of roost for fish: source it, or put it into ~/.config/fish/completions.\n"
	"function __roost_complete\n"
	"	set -l words (commandline -opc)\n"
	"	set -l typed (commandline -ct)\n"
	"	for line in ($words[1] completion words -- $words[2..-1] \"$typed\" 2>/dev/null)\n"
	"		if test \"$line\" = :files\n"
	"			__fish_complete_path \"$typed\"\n"
	"		else\n"
	"			echo $line\n"
	"		end\n"
	"	end\n"
	"end\n"
	"complete -c roost -f -a '(__roost_complete)'\n";

static int run_completion(const struct cli *cli, struct err *err)
{
	static const struct {
		const char *shell, *script;
	} shells[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
	const char *shell = cli->operands[0];
	if (str_eq(shell, "words")) {
		complete_words(cli->operands + 1, (size_t)cli->count - 1);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(shells) && cli->count == 1; i++) {
		if (!str_eq(shell, shells[i].shell))
			continue;
		if (cli->json)
			cli_print_json(json_pack(
				"{s:s, s:s}", "shell", shell, "script", shells[i].script));
		else
			fputs(shells[i].script, stdout);
		return 0;
	}
	if (cli->count > 1)
		return err_set(err, ERR_USAGE, "roost completion: a word too many");
	err_set(err, ERR_USAGE, "there is no completion for the shell '%s'", shell);
	return err_hint(err, "there is one for bash, zsh and fish");
}

const struct verb verb_completion = {"completion", "bash|zsh|fish",
	"Prints the script that completes roost's commands at a shell.", 1, -1, false, {{0}},
	run_completion, "roost completion bash", GROUP_HOST, GUESTS_ALL};
