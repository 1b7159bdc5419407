/* Programs of the host, by name. */
#ifndef ORCHESTRATOR_FIND_PROGRAM_H
#define ORCHESTRATOR_FIND_PROGRAM_H

/* A program's path by PATH, freed by the caller; NULL if it is in none of its folders. */
char *program_in_path(const char *program);

#endif
